"""Publishing a version: its blob, its row, the aliases that follow it, and what is thinned for it."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from services.domain.registry_api import NewVersion, Version, legible
from services.registry.aliases import follow, lock
from services.registry.blobs import Blobs
from services.registry.database import Database
from services.registry.reading import version_of
from services.registry.refusals import Invalid
from services.registry.tables import STORED, ModelRow, VersionRow
from services.registry.thinning import mark, sweep


def publish(
    database: Database, blobs: Blobs, name: str, new: NewVersion, snapshot: bytes, *, actor: str, now: datetime
) -> tuple[Version, bool]:
    """Store a version unless there is one of its identity already; return it and whether it is new.

    The blob is written before the row, so that no row ever lacks its blob; and made sure of under the model's lock,
    where thinning removes blobs.
    """
    _check_digest(new, snapshot)
    if not all(map(legible, new.metrics)):
        raise Invalid("a metric has a name that cannot be read", "Name it in one line, without control characters.")
    with database.reading() as session:
        if first := session.scalars(_identity(name, new)).first():
            return version_of(first), False
    blobs.put(name, new.sha256, snapshot)
    with database.writing() as session:
        model = lock(session, name, now, create=True)
        if first := session.scalars(_identity(name, new)).first():
            return version_of(first), False
        if not blobs.has(name, new.sha256, len(snapshot)):
            blobs.put(name, new.sha256, snapshot)
        row = _insert(session, model, new, len(snapshot), actor)
        follow(session, model, row)
        session.flush()
        mark(session, row, new.keep)
    sweep(database, blobs, name)
    return version_of(row), True


def _check_digest(new: NewVersion, snapshot: bytes) -> None:
    digest = hashlib.sha256(snapshot).hexdigest()
    if digest != new.sha256:
        raise Invalid(
            "the snapshot does not have the sha256 that its manifest names",
            f"{len(snapshot)} bytes with sha256 {digest} arrived, {new.sha256} was announced: send it again.",
        )


def _identity(name: str, new: NewVersion) -> Select[tuple[VersionRow]]:
    return select(VersionRow).where(
        VersionRow.name == name,
        VersionRow.candidate == new.candidate,
        VersionRow.spec == new.spec,
        VersionRow.log_id == new.log_id,
        VersionRow.examples_offset == new.examples_offset,
    )


def _insert(session: Session, model: ModelRow, new: NewVersion, size: int, actor: str) -> VersionRow:
    model.latest += 1
    last = select(func.max(VersionRow.ordinal)).where(
        VersionRow.name == model.name, VersionRow.candidate == new.candidate
    )
    row = VersionRow(
        name=model.name, version=model.latest, candidate=new.candidate, ordinal=(session.scalar(last) or 0) + 1,
        spec=new.spec, log_id=new.log_id, examples_offset=new.examples_offset, sha256=new.sha256,
        signature=new.signature, size=size, metrics=dict(new.metrics), state=STORED, at=model.changed_at, actor=actor,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row
