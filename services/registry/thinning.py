"""Which snapshots to keep as versions grow old.

The newest ``keep`` versions of a candidate stay. Behind them every second, behind twice as many every fourth, and so
on: ``keep`` / 2 for each doubling of age, so that any past stays within reach of a short refold while storage grows
with the logarithm of time. What an alias names now stays, and so does whatever somebody ever decided on: every
version in the alias log, and the one that it replaced, where a rollback leads. That a live alias once passed over a
version while following its candidate does not keep it, or nothing would ever be thinned. A thinned version keeps its
row; its snapshot can be refolded from ``examples``.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.registry.blobs import Blobs
from services.registry.database import Database
from services.registry.tables import STORED, THINNED, THINNING, AliasRow, ModelRow, MoveRow, VersionRow


def kept(ordinal: int, newest: int, keep: int) -> bool:
    """Whether the version with this ordinal of its candidate stays when ``newest`` is the greatest ordinal.

    >>> [n for n in range(1, 21) if kept(n, 20, 4)]
    [8, 12, 14, 16, 17, 18, 19, 20]
    """
    age = newest - ordinal
    if age < keep:
        return True
    level = (age // keep).bit_length()
    return ordinal % (1 << level) == 0


def mark(session: Session, newest: VersionRow, keep: int) -> None:
    """Mark what is to be thinned of the candidate that has just got its ``newest`` version."""
    name = newest.name
    named = select(AliasRow.version).where(AliasRow.name == name)
    decided = select(MoveRow.version).where(MoveRow.name == name, MoveRow.logged)
    replaced = select(MoveRow.previous).where(MoveRow.name == name, MoveRow.logged, MoveRow.previous.is_not(None))
    old = select(VersionRow).where(
        VersionRow.name == name,
        VersionRow.candidate == newest.candidate,
        VersionRow.ordinal <= newest.ordinal - keep,
        VersionRow.state == STORED,
        VersionRow.version.not_in(named),
        VersionRow.version.not_in(decided),
        VersionRow.version.not_in(replaced),
    )
    for row in session.scalars(old):
        if not kept(row.ordinal, newest.ordinal, keep):
            row.state = THINNING


def sweep(database: Database, blobs: Blobs, name: str) -> int:
    """Remove the marked versions' blobs that no other version needs; return how many versions became thinned.

    It holds the model's lock, under which publishing makes sure of its blob, so neither can take it from the other.
    A process that dies half-way leaves the mark, and the next sweep finishes.
    """
    with database.writing() as session:
        session.scalars(select(ModelRow).where(ModelRow.name == name).with_for_update()).one_or_none()
        marked = session.scalars(select(VersionRow).where(VersionRow.name == name, VersionRow.state == THINNING)).all()
        for row in marked:
            needed = select(VersionRow.version).where(
                VersionRow.name == name, VersionRow.sha256 == row.sha256, VersionRow.state == STORED
            )
            if session.scalars(needed.limit(1)).first() is None:
                blobs.remove(name, row.sha256)
            row.state = THINNED
        return len(marked)
