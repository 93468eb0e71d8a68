"""What some work adds to the memory of a process: in one of its own, so that nothing freed before is used again."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from services.runtime import interpreter

_LOADED_BEFORE = ("river.forest", "river.tree")
"""Imported when a model first needs them; a library is not what the work keeps."""


def added(work: Callable[..., Any], *arguments: Any) -> float:
    """MB, by which resident memory grows until the work returns what it made; its arguments are there before."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(_added, (work, arguments))


def _added(work: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    for module in _LOADED_BEFORE:
        import_module(module)
    interpreter.tune()  # as the services do
    gc.collect()
    before = anonymous()
    made = work(*arguments)
    after = anonymous()
    del made
    return (after - before) / 1e6


def anonymous() -> int:
    """Resident bytes but for pages of files: which of a library's code has run is no matter of the work either."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
