"""Aliases: what ``champion`` and ``challenger-<candidate>`` name, who changed that, and the record that tells others.

Every move takes the model's next revision and, in the same database transaction, puts its record into the outbox.
A candidate's challenger alias stays when the candidate becomes champion: readers of ``models`` do not score a
challenger that is the champion's own candidate.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from schemas.codec import encode
from schemas.models import AliasRecord
from services.domain.registry_api import CHALLENGER_PREFIX, CHAMPION, Alias, Change, SetAlias, challenger, legible
from services.registry.database import Database
from services.registry.refusals import Conflict, Invalid, Missing
from services.registry.tables import STORED, AliasRow, ModelRow, MoveRow, OutboxRow, VersionRow

Verb = Literal["named first", "promoted", "released", "rolled back", "pinned"]


def lock(session: Session, name: str, now: datetime, *, create: bool = False) -> ModelRow:
    """Return the model's row, locked until the transaction ends: all changes of a model are made one by one."""
    if create:
        insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
        row = {"name": name, "created_at": now, "changed_at": now, "revision": 0, "latest": 0}
        session.execute(insert(ModelRow).values(row).on_conflict_do_nothing())
    model = session.scalars(select(ModelRow).where(ModelRow.name == name).with_for_update()).one_or_none()
    if model is None:
        raise Missing(
            f"there is no model {name!r}", "A model appears when the learner publishes its first version: GET /models."
        )
    model.changed_at = max(model.changed_at, now)
    return model


def alias_rows(session: Session, name: str) -> dict[str, AliasRow]:
    """Return the aliases of a model, the champion first."""
    rows = session.scalars(select(AliasRow).where(AliasRow.name == name).order_by(AliasRow.alias)).all()
    return {row.alias: row for row in sorted(rows, key=lambda row: row.alias != CHAMPION)}


def newest(session: Session, name: str, candidate: str) -> VersionRow | None:
    """Return the version of a candidate that has seen most: the greatest (log_id, examples_offset)."""
    order = (VersionRow.log_id.desc(), VersionRow.examples_offset.desc(), VersionRow.version.desc())
    found = select(VersionRow).where(VersionRow.name == name, VersionRow.candidate == candidate)
    return session.scalars(found.order_by(*order).limit(1)).first()


def move(
    session: Session, model: ModelRow, alias: str, to: VersionRow, *, live: bool, actor: str, reason: str, logged: bool
) -> AliasRow:
    """Let ``alias`` name ``to``: the alias, its move, and its record in the outbox, under the next revision."""
    model.revision += 1
    row = session.get(AliasRow, (model.name, alias))
    previous = row.version if row is not None else None
    if row is None:
        row = AliasRow(name=model.name, alias=alias)
        session.add(row)
    row.candidate, row.version, row.live = to.candidate, to.version, live
    row.revision, row.previous = model.revision, previous
    row.actor, row.reason, row.at = actor, reason, model.changed_at
    session.add(
        MoveRow(
            name=model.name, alias=alias, candidate=to.candidate, version=to.version, live=live,
            revision=model.revision, previous=previous, logged=logged, actor=actor, reason=reason, at=model.changed_at,
        )
    )  # fmt: skip
    enqueue(session, row, to)
    return row


def enqueue(session: Session, row: AliasRow, version: VersionRow) -> None:
    """Put the alias's record into the outbox, in place of an older one of it: ``models`` is compacted by alias."""
    session.flush()
    session.execute(delete(OutboxRow).where(OutboxRow.name == row.name, OutboxRow.alias == row.alias))
    session.add(OutboxRow(name=row.name, alias=row.alias, record=encode(record_of(row, version)), at=row.at))


def record_of(row: AliasRow, version: VersionRow) -> AliasRecord:
    """Return what the rest of the pipeline is told of an alias."""
    return AliasRecord(
        alias=row.alias, revision=row.revision, name=row.name, candidate=row.candidate, version=row.version,
        live=row.live, snapshot_sha256=version.sha256, signature=version.signature, size=version.size,
        spec=version.spec, log_id=version.log_id, examples_offset=version.examples_offset, previous=row.previous,
        actor=row.actor, reason=row.reason, at=row.at,
    )  # fmt: skip


def follow(session: Session, model: ModelRow, version: VersionRow) -> None:
    """Move what a new version moves.

    The first version of a model makes its candidate champion, the first of another candidate its challenger: both
    are log entries. A live alias of the candidate follows; that is none. An alias never follows backwards, to a
    version that has seen less.
    """
    aliases = alias_rows(session, model.name)
    actor, candidate = version.actor, version.candidate
    own = challenger(candidate)
    if CHAMPION not in aliases:
        move(session, model, CHAMPION, version, live=True, actor=actor, reason="the first candidate", logged=True)
    elif aliases[CHAMPION].candidate != candidate and own not in aliases:
        move(session, model, own, version, live=True, actor=actor, reason="a new candidate", logged=True)
    for row in aliases.values():
        if row.live and row.candidate == candidate and _seen(session.get(VersionRow, (row.name, row.version)), version):
            move(session, model, row.alias, version, live=True, actor=actor, reason="a new version", logged=False)


def _seen(before: VersionRow | None, after: VersionRow) -> bool:
    return before is None or (before.log_id, before.examples_offset) <= (after.log_id, after.examples_offset)


def set_alias(
    database: Database, name: str, alias: str, wanted: SetAlias, *, actor: str, now: datetime
) -> tuple[Alias, Verb | None]:
    """Promote, roll back, pin or release, and log it; what is already so is left alone, so a retry is harmless.

    Returns the alias, and what was done to it, if anything.
    """
    if not legible(wanted.reason):
        raise Invalid(
            "the reason cannot be read",
            "Say why in one line, without control characters: it is kept in the log for ever.",
        )
    with database.writing() as session:
        model = lock(session, name, now)
        target = _target(session, name, alias, wanted)
        current = session.get(AliasRow, (name, alias))
        if current is not None and current.live == wanted.live and _same(current, target):
            return alias_of(current), None
        _require_seen(session, name, alias, wanted.seen)
        former, previous = (current.candidate, current.version) if current is not None else (None, None)
        row = move(session, model, alias, target, live=wanted.live, actor=actor, reason=wanted.reason, logged=True)
        if alias == CHAMPION and former is not None and former != target.candidate:
            _demote(session, model, former, actor)
        named = alias_of(row)
        return named, verb(previous, former, named)


def verb(previous: int | None, former: str | None, now: Alias | Change) -> Verb:
    """What was done to an alias that named the version ``previous`` of the candidate ``former``, in a word."""
    if previous is None:
        return "named first"
    if now.live:
        return "released" if former == now.candidate else "promoted"
    return "rolled back" if now.version < previous else "pinned"


def last_decision(session: Session, name: str, alias: str) -> MoveRow | None:
    """Return the newest entry of the log on this alias."""
    moves = select(MoveRow).where(MoveRow.name == name, MoveRow.logged, MoveRow.alias == alias)
    return session.scalars(moves.order_by(MoveRow.revision.desc()).limit(1)).first()


def _require_seen(session: Session, name: str, alias: str, seen: int | None) -> None:
    last = last_decision(session, name, alias)
    if seen is not None and last is not None and last.revision > seen:
        raise Conflict(
            f"{alias} of {name} was changed meanwhile",
            f"{last.actor} let it name version {last.version} at {last.at:%Y-%m-%d %H:%M:%S} UTC: {last.reason!r}. "
            "Look at what it names now, and decide again.",
        )


def _same(current: AliasRow, target: VersionRow) -> bool:
    return current.candidate == target.candidate if current.live else current.version == target.version


def _target(session: Session, name: str, alias: str, wanted: SetAlias) -> VersionRow:
    """Find the version to name: the one asked for, or its candidate's newest when the alias shall follow that."""
    asked = session.get(VersionRow, (name, wanted.version))
    if asked is None:
        raise Missing(
            f"model {name} has no version {wanted.version}", f"GET /api/v1/models/{name}/versions lists those it has."
        )
    if alias != CHAMPION and asked.candidate != alias.removeprefix(CHALLENGER_PREFIX):
        raise Conflict(
            f"version {wanted.version} of {name} is of candidate {asked.candidate}, not of the one that {alias} is for",
            f"Set {challenger(asked.candidate)}, or {CHAMPION} to promote it.",
        )
    target = (newest(session, name, asked.candidate) or asked) if wanted.live else asked
    if target.state != STORED:
        raise Conflict(
            f"the snapshot of version {target.version} of {name} was thinned and cannot be served",
            f"Choose a version with state stored: GET /api/v1/models/{name}/versions?candidate={target.candidate}. "
            "A greater [snapshots] keep in the pipeline file keeps more of them.",
        )
    return target


def _demote(session: Session, model: ModelRow, candidate: str, actor: str) -> None:
    """The former champion's candidate goes on as a challenger, following its newest version."""
    own = challenger(candidate)
    version = newest(session, model.name, candidate)
    if version is not None and session.get(AliasRow, (model.name, own)) is None:
        move(session, model, own, version, live=True, actor=actor, reason="was champion until now", logged=True)


def alias_of(row: AliasRow) -> Alias:
    """Return the alias as the API shows it."""
    return Alias(
        name=row.name, alias=row.alias, candidate=row.candidate, version=row.version, live=row.live,
        revision=row.revision, actor=row.actor, reason=row.reason, at=row.at,
    )  # fmt: skip


def pending(session: Session, name: str) -> int:
    """Count the records of a model that wait for the broker."""
    return session.scalar(select(func.count()).select_from(OutboxRow).where(OutboxRow.name == name)) or 0
