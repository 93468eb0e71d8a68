"""Where a version comes from: its parent, and what changed in the pipeline file between the two."""

from __future__ import annotations

import difflib
from typing import Literal

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.domain.registry_api import Version
from services.registry import specs
from services.registry.reading import version_of
from services.registry.tables import VersionRow

MOST_LINES = 400
"""Lines of a diff that are shown."""
_CONTEXT = 3


class DiffLine(msgspec.Struct, frozen=True):
    """A line of a diff; ``kind`` is ``place`` for the line numbers between two parts."""

    kind: Literal["same", "added", "removed", "place"]
    text: str


class Lineage(msgspec.Struct, frozen=True):
    """``parent`` is the version of the same candidate before this one, ``since`` the first version under this spec.

    ``diff`` is empty when the spec is the parent's, and None when one of the two specs is not kept here.
    """

    parent: Version | None
    since: int
    diff: list[DiffLine] | None
    cut: bool = False


def lineage(session: Session, row: VersionRow) -> Lineage:
    """Return where a version comes from."""
    own = (VersionRow.name == row.name, VersionRow.candidate == row.candidate)
    parent = session.scalars(select(VersionRow).where(*own, VersionRow.ordinal == row.ordinal - 1)).one_or_none()
    since = session.scalar(select(func.min(VersionRow.version)).where(*own, VersionRow.spec == row.spec))
    if parent is None or parent.spec == row.spec:
        lines: list[DiffLine] | None = []
    else:
        before, after = specs.find(session, parent.spec), specs.find(session, row.spec)
        lines = None if before is None or after is None else diff(before.body, after.body)
    cut = lines is not None and len(lines) > MOST_LINES
    return Lineage(
        parent=version_of(parent) if parent is not None else None,
        since=since or row.version,
        diff=lines[:MOST_LINES] if lines is not None else None,
        cut=cut,
    )


def diff(before: str, after: str) -> list[DiffLine]:
    """Return the difference of two canonical forms, one value a line."""
    found = difflib.unified_diff(_lines(before), _lines(after), n=_CONTEXT, lineterm="")
    return [_diff_line(line) for line in list(found)[2:]]


def _lines(body: str) -> list[str]:
    try:
        return msgspec.json.format(body, indent=2).splitlines()
    except msgspec.MsgspecError:  # kept byte for byte, whatever was sent
        return body.splitlines()


def _diff_line(line: str) -> DiffLine:
    if line.startswith("@@"):
        return DiffLine("place", line)
    kinds: dict[str, Literal["added", "removed"]] = {"+": "added", "-": "removed"}
    return DiffLine(kinds.get(line[0], "same"), line[1:])
