"""The command ``rivermill check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from schemas.examples import Control
from services.cli.check import compared, described
from services.domain.spec import canonical, spec_hash
from services.domain.spec_changes import changes
from services.learner.training import rehearse
from services.runtime.launch import load


def check(
    pipeline: Annotated[Path, Parameter(help="The pipeline file.")],
    /,
    *,
    against: Annotated[
        Path | None, Parameter(help="The pipeline file that runs now: may it be changed to this one in place?")
    ] = None,
) -> int:
    """Read a pipeline file, say what is wrong with it by line and key, try its candidates, and explain what it means.

    Every candidate is made once as the learner would make it, so a `factory` is imported and called. With `--against`
    the exit code is 1 for a change that may not be taken up.

    Try `rivermill check orders.toml`, or before a change `rivermill check new.toml --against running.toml`.
    """
    spec = load(pipeline)
    before = None if against is None else load(against)
    rehearse(Control("", spec_hash(spec), canonical(spec)))
    print(described(spec))
    if before is None:
        return 0
    print(f"\n{compared(before, spec)}")
    return 0 if changes(before, spec).allowed else 1
