"""Pipeline specs by hash: the canonical form in full, so that any prediction's spec can be read later."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.domain.registry_api import MAX_SPEC_BYTES
from services.registry.database import Database
from services.registry.refusals import Invalid, Missing
from services.registry.tables import SpecRow

_LEAST_DIGITS = 16


def put_spec(database: Database, spec_hash: str, body: bytes, now: datetime) -> bool:
    """Keep a spec; return whether it is new. The hash must be the beginning of the sha256 of these bytes."""
    if len(body) > MAX_SPEC_BYTES:
        raise Invalid(f"the spec has {len(body)} bytes, more than {MAX_SPEC_BYTES}", "Send its canonical form.")
    digest = hashlib.sha256(body).hexdigest()
    if not digest.startswith(spec_hash):
        raise Invalid(
            f"the spec sent as {spec_hash} has sha256 {digest}",
            "Send the canonical form byte for byte, under the hash that is made of it (its first 16 digits or more).",
        )
    try:
        text = body.decode()
        msgspec.json.decode(body, type=dict)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise Invalid("the spec is no JSON object", f"Send its canonical form ({error}).") from error
    with database.writing() as session:
        if find(session, spec_hash) is not None:
            return False
        session.add(SpecRow(hash=spec_hash, body=text, at=now))
    return True


def get_spec(database: Database, spec_hash: str) -> str:
    """Return a spec's canonical form; Missing when no learner has sent it."""
    with database.reading() as session:
        row = find(session, spec_hash)
    if row is None:
        raise Missing(f"there is no spec {spec_hash}", "The learner puts its spec here when it starts.")
    return row.body


def find(session: Session, spec_hash: str) -> SpecRow | None:
    """The spec whose sha256 begins so, whether it was sent under fewer digits of it or under more."""
    alike = select(SpecRow).where(SpecRow.hash.startswith(spec_hash[:_LEAST_DIGITS]))
    found = (
        row for row in session.scalars(alike) if hashlib.sha256(row.body.encode()).hexdigest().startswith(spec_hash)
    )
    return next(found, None)
