"""A decision on an alias as a person is asked to confirm it: what it names now, and what it would name."""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.domain.registry_api import Alias, Version
from services.registry import reading
from services.registry.aliases import alias_of, last_decision, newest
from services.registry.refusals import Missing
from services.registry.tables import AliasRow, MoveRow

Act = Literal["promote", "pin", "rollback", "release"]


class Proposal(msgspec.Struct, frozen=True):
    """``seen`` is the newest log entry of the alias now: a decision made after it is refused, not overwritten."""

    act: Act
    alias: str
    now: Alias | None
    target: Version
    live: bool
    seen: int


def propose(session: Session, name: str, act: Act, alias: str, version: int | None) -> Proposal:
    """Work out what an act would set; Missing when there is no such version, or none to go back to."""
    current = session.get(AliasRow, (name, alias))
    if act == "rollback":
        version = _before(session, name, alias)
    elif act == "release":
        version = current.version if current is not None else None
    if version is None:
        raise Missing(f"no version of {name} was named", "Go to one of its versions, and promote or pin it there.")
    target = reading.version(session, name, version)
    live = act in ("promote", "release")
    if live:
        target = newest(session, name, target.candidate) or target
    last = last_decision(session, name, alias)
    return Proposal(
        act=act,
        alias=alias,
        now=alias_of(current) if current is not None else None,
        target=reading.version_of(target),
        live=live,
        seen=last.revision if last is not None else 0,
    )


def _before(session: Session, name: str, alias: str) -> int:
    """The version that the alias named before it was last set to another one."""
    moves = select(MoveRow.previous).where(
        MoveRow.name == name, MoveRow.alias == alias, MoveRow.logged, MoveRow.previous != MoveRow.version
    )
    found = session.scalars(moves.order_by(MoveRow.revision.desc()).limit(1)).first()
    if found is None:
        raise Missing(
            f"{alias} of {name} never named another version: there is nothing to roll back to",
            "Pin any version on its own page.",
        )
    return found
