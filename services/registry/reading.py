"""Reading back: models, versions and their snapshots, the alias log, and what was served at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.domain.registry_api import (
    CHAMPION,
    Change,
    ChangePage,
    Model,
    ModelSummary,
    Served,
    ServedAlias,
    Version,
    VersionPage,
)  # fmt: skip
from services.registry.aliases import alias_of, alias_rows
from services.registry.blobs import Blobs
from services.registry.database import Database
from services.registry.refusals import Missing, Thinned
from services.registry.tables import STORED, AliasRow, ModelRow, MoveRow, VersionRow

_Item = TypeVar("_Item")


def models(session: Session) -> list[ModelSummary]:
    """Return all models by name."""
    champions = {row.name: row for row in session.scalars(select(AliasRow).where(AliasRow.alias == CHAMPION))}
    return [
        ModelSummary(
            name=row.name, versions=row.latest, latest=row.latest or None, created_at=row.created_at,
            champion=alias_of(champions[row.name]) if row.name in champions else None,
        )
        for row in session.scalars(select(ModelRow).order_by(ModelRow.name))
    ]  # fmt: skip


def model(session: Session, name: str) -> Model:
    """Return one model with its aliases; Missing when there is none of that name."""
    row = _model_row(session, name)
    aliases = alias_rows(session, name)
    return Model(
        name=name,
        candidates=list(dict.fromkeys(alias.candidate for alias in aliases.values())),
        versions=row.latest,
        latest=row.latest or None,
        revision=row.revision,
        created_at=row.created_at,
        aliases={alias: alias_of(found) for alias, found in aliases.items()},
    )


def _model_row(session: Session, name: str) -> ModelRow:
    row = session.get(ModelRow, name)
    if row is None:
        raise Missing(
            f"there is no model {name!r}",
            "A model appears when the learner of that pipeline publishes its first version: GET /api/v1/models.",
        )
    return row


def versions(session: Session, name: str, candidate: str | None, before: int | None, limit: int) -> VersionPage:
    """Return up to ``limit`` versions with numbers below ``before``, newest first, of one candidate if given."""
    _model_row(session, name)
    query = select(VersionRow).where(VersionRow.name == name).order_by(VersionRow.version.desc())
    if candidate is not None:
        query = query.where(VersionRow.candidate == candidate)
    if before is not None:
        query = query.where(VersionRow.version < before)
    rows, more = _page(session.scalars(query.limit(limit + 1)).all(), limit)
    return VersionPage(items=[version_of(row) for row in rows], next_before=rows[-1].version if more else None)


def log(session: Session, name: str, before: int | None, limit: int) -> ChangePage:
    """Return up to ``limit`` entries of the alias log with revisions below ``before``, newest first."""
    _model_row(session, name)
    query = select(MoveRow).where(MoveRow.name == name, MoveRow.logged).order_by(MoveRow.revision.desc())
    if before is not None:
        query = query.where(MoveRow.revision < before)
    rows, more = _page(session.scalars(query.limit(limit + 1)).all(), limit)
    return ChangePage(items=[_change_of(row) for row in rows], next_before=rows[-1].revision if more else None)


def _page(rows: Sequence[_Item], limit: int) -> tuple[Sequence[_Item], bool]:
    return rows[:limit], len(rows) > limit


def version(session: Session, name: str, number: int) -> VersionRow:
    """Return one version's row; Missing when there is none."""
    _model_row(session, name)
    row = session.get(VersionRow, (name, number))
    if row is None:
        raise Missing(
            f"model {name} has no version {number}", f"GET /api/v1/models/{name}/versions lists its versions."
        )
    return row


def snapshot(database: Database, blobs: Blobs, name: str, number: int) -> tuple[bytes, str]:
    """Return a version's snapshot and its sha256; Thinned when it was removed, Damaged when it is not what it was."""
    with database.reading() as session:
        row = version(session, name, number)
    if row.state != STORED:
        raise Thinned(
            f"the snapshot of version {number} of {name} was thinned",
            f"Refold {name}.examples of log {row.log_id} to offset {row.examples_offset} to rebuild it.",
        )
    return blobs.get(name, row.sha256, row.size), row.sha256


def served(session: Session, name: str, at: datetime) -> Served:
    """Return which version each alias named at a time: the last move of each at or before it."""
    _model_row(session, name)
    aliases = {}
    for alias in alias_rows(session, name):
        moves = select(MoveRow).where(MoveRow.name == name, MoveRow.alias == alias, MoveRow.at <= at)
        last = session.scalars(moves.order_by(MoveRow.at.desc(), MoveRow.revision.desc()).limit(1)).first()
        if last is not None:
            aliases[alias] = _served_of(last)
    return Served(name=name, at=at, aliases=aliases)


def _served_of(row: MoveRow) -> ServedAlias:
    return ServedAlias(
        candidate=row.candidate, version=row.version, live=row.live, revision=row.revision, since=row.at
    )  # fmt: skip


def version_of(row: VersionRow) -> Version:
    """Return the version as the API shows it."""
    state: Literal["stored", "thinned"] = "stored" if row.state == STORED else "thinned"
    return Version(
        name=row.name, version=row.version, candidate=row.candidate, spec=row.spec, log_id=row.log_id,
        examples_offset=row.examples_offset, sha256=row.sha256, signature=row.signature, size=row.size,
        metrics=row.metrics, state=state, at=row.at, actor=row.actor,
    )  # fmt: skip


def _change_of(row: MoveRow) -> Change:
    return Change(
        revision=row.revision, alias=row.alias, candidate=row.candidate, version=row.version, live=row.live,
        previous=row.previous, actor=row.actor, reason=row.reason, at=row.at,
    )  # fmt: skip
