"""Pipeline specs by hash: the canonical form in full, so that any prediction's spec can be read later."""

from __future__ import annotations

import hashlib
from datetime import datetime

from services.domain.registry_api import MAX_SPEC_BYTES
from services.registry.database import Database
from services.registry.refusals import Invalid, Missing
from services.registry.tables import SpecRow


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
    except UnicodeDecodeError as error:
        raise Invalid("the spec is not UTF-8", f"Send its canonical JSON form ({error}).") from error
    if "\0" in text:
        raise Invalid("the spec holds U+0000", "Send its canonical JSON form, which escapes it.")
    with database.writing() as session:
        if session.get(SpecRow, spec_hash) is not None:
            return False
        session.add(SpecRow(hash=spec_hash, body=text, at=now))
    return True


def get_spec(database: Database, spec_hash: str) -> str:
    """Return a spec's canonical form; Missing when no learner has sent it."""
    with database.reading() as session:
        row = session.get(SpecRow, spec_hash)
    if row is None:
        raise Missing(f"there is no spec {spec_hash}", "The learner puts its spec here when it starts.")
    return row.body
