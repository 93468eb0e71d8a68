"""Running until a signal: work is cancelled, then what it started is stopped, however often Ctrl-C is pressed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_signal(work: Coroutine[Any, Any, _T], stop: Coroutine[Any, Any, None]) -> _T | None:
    """Run ``work``; SIGINT, SIGTERM or SIGHUP cancels it. ``stop`` runs to its end in every case.

    Returns what ``work`` returned, None when a signal ended it; its own exceptions pass through.
    """
    loop = asyncio.get_running_loop()
    task: asyncio.Task[_T] = asyncio.ensure_future(work)
    signalled = asyncio.Event()

    def interrupt() -> None:
        signalled.set()
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if signalled.is_set():
            return None
        raise
    finally:
        await _whole(stop)
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _whole(stop: Awaitable[None]) -> None:
    await asyncio.shield(asyncio.ensure_future(stop))
