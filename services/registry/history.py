"""A model's log with a word for what each entry did."""

from __future__ import annotations

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.domain.registry_api import Change
from services.registry import reading
from services.registry.aliases import Verb, verb
from services.registry.tables import VersionRow


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
        Entry(change, verb(change.previous, candidates.get(change.previous or 0), change)) for change in page.items
    ], page.next_before
