"""A model's log with a word for what each entry did."""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.domain.registry_api import Change
from services.registry import reading
from services.registry.tables import VersionRow

Verb = Literal["named first", "promoted", "released", "rolled back", "pinned"]


class Entry(msgspec.Struct, frozen=True):
    """An entry of the log and what it did, in a word."""

    change: Change
    verb: Verb


def log(session: Session, name: str, before: int | None, limit: int) -> tuple[list[Entry], int | None]:
    """Return entries of the log, newest first, and where the next page begins."""
    page = reading.log(session, name, before, limit)
    named = {change.previous for change in page.items if change.previous is not None}
    rows = select(VersionRow.version, VersionRow.candidate)
    wanted = rows.where(VersionRow.name == name, VersionRow.version.in_(named))
    candidates = {version: candidate for version, candidate in session.execute(wanted)}  # noqa: C416 - rows are no pairs
    return [
        Entry(change, _verb(change, candidates.get(change.previous or 0))) for change in page.items
    ], page.next_before


def _verb(change: Change, former: str | None) -> Verb:
    if change.previous is None:
        return "named first"
    if change.live:
        return "released" if former == change.candidate else "promoted"
    return "rolled back" if change.version < change.previous else "pinned"
