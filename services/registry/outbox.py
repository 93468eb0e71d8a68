"""The outbox: alias records that wait in the database, and what becomes of them once the broker has them.

An alias and its record are one database transaction, so neither can be without the other. These are the
synchronous halves; :mod:`services.registry.publisher` moves the records to Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from schemas.models import AliasRecord
from services.registry.aliases import alias_rows, enqueue, lock, record_of
from services.registry.database import Database
from services.registry.tables import ModelRow, OutboxRow, RegistryRow, VersionRow

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """One record to publish."""

    id: int
    alias: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many records wait, and since when the oldest does."""

    records: int
    since: datetime | None


def identity(database: Database) -> str:
    """Return the id that this database was given when it was made."""
    with database.reading() as session:
        return session.scalars(select(RegistryRow.id)).one()


def all_names(database: Database) -> list[str]:
    """Return the names of all models."""
    with database.reading() as session:
        return list(session.scalars(select(ModelRow.name).order_by(ModelRow.name)))


def waiting_names(database: Database) -> list[str]:
    """Return the names of the models that have records waiting."""
    with database.reading() as session:
        return list(session.scalars(select(OutboxRow.name).distinct()))


def waiting(database: Database, name: str) -> list[Waiting]:
    """Return the oldest records of a model, in order."""
    with database.reading() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.name == name).order_by(OutboxRow.id).limit(_BATCH))
        return [Waiting(row.id, row.alias, row.record) for row in rows]


def acknowledged(database: Database, ids: Sequence[int]) -> None:
    """Forget records that the broker has; one replaced meanwhile is no longer there, and its successor stays."""
    with database.writing() as session:
        session.execute(delete(OutboxRow).where(OutboxRow.id.in_(ids)))


def backlog(database: Database) -> Backlog:
    """Return how much waits."""
    with database.reading() as session:
        records = session.scalar(select(func.count()).select_from(OutboxRow)) or 0
        oldest = session.scalars(select(OutboxRow.at).order_by(OutboxRow.id).limit(1)).first()
    return Backlog(records, oldest)


def reconcile(database: Database, name: str, there: Mapping[str, AliasRecord], now: datetime) -> int:
    """Compare a model's aliases with its topic and queue those that are missing or different there.

    Revisions go on above the greatest on the topic, so that a restored database or a new one is not ignored by
    readers. Returns how many aliases were queued. Aliases that only the topic knows are left as they are.
    """
    greatest = max((record.revision for record in there.values()), default=0)
    queued = 0
    with database.writing() as session:
        model = lock(session, name, now)
        behind = greatest > model.revision
        model.revision = max(model.revision, greatest)
        for alias, row in alias_rows(session, name).items():
            version = session.get(VersionRow, (name, row.version))
            if version is None or _equal(there.get(alias), record_of(row, version)):
                continue
            if not behind and _is_waiting(session, name, alias):
                continue
            model.revision += 1
            row.revision = model.revision
            enqueue(session, row, version)
            queued += 1
    return queued


def _is_waiting(session: Session, name: str, alias: str) -> bool:
    found = select(OutboxRow.id).where(OutboxRow.name == name, OutboxRow.alias == alias)
    return session.scalars(found.limit(1)).first() is not None


def _equal(there: AliasRecord | None, here: AliasRecord) -> bool:
    return there is not None and (
        (there.candidate, there.version, there.live, there.snapshot_sha256, there.signature)
        == (here.candidate, here.version, here.live, here.snapshot_sha256, here.signature)
    )
