"""``models``: decisions, compacted by alias, one partition. Written by the registry, read by scoring and learner."""

from __future__ import annotations

from datetime import datetime

import msgspec


class AliasRecord(msgspec.Struct):
    """Alias ``champion`` or ``challenger-<candidate>`` now names this version. Readers ignore a lower revision.

    ``live`` true: the alias follows its candidate's newest state; false: exactly this version is served.
    ``signature`` is hex HMAC-SHA256 of the snapshot's bytes, made by the learner.
    """

    alias: str
    revision: int
    name: str
    candidate: str
    version: int
    live: bool
    snapshot_sha256: str
    signature: str
    size: int
    spec: str
    log_id: str
    examples_offset: int
    previous: int | None
    actor: str
    reason: str
    at: datetime
