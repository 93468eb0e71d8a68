"""The command ``rivermill check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from services.cli import check as checking
from services.runtime.launch import load


def check(
    pipeline: Annotated[Path, Parameter(help="The pipeline file.")],
    *,
    against: Annotated[
        Path | None, Parameter(help="The pipeline file that runs now: may it be changed to this one in place?")
    ] = None,
) -> int:
    """Read a pipeline file, say what is wrong with it by line and key, and explain what it means.

    Try `rivermill check orders.toml`, or before a change `rivermill check new.toml --against running.toml`.
    """
    print(checking.check(pipeline, None if against is None else load(against)))
    return 0
