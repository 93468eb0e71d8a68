"""``models``: decisions, compacted by alias, one partition. Written by the registry, followed by scoring, read by all services."""

from __future__ import annotations

from datetime import datetime

import msgspec


class AliasRecord(msgspec.Struct):
    """From now on the alias names this version."""

    alias: str
    """The record's key: ``champion`` or ``challenger-<candidate>``."""
    revision: int
    """Grows with each decision on a model; readers ignore a lower one."""
    name: str
    """The model: the pipeline's name."""
    candidate: str
    """Which candidate the version is of."""
    version: int
    """The version that the alias names."""
    live: bool
    """True: the alias follows its candidate's newest state; false: exactly this version is served."""
    snapshot_sha256: str
    """Of the snapshot's bytes, in hex; the registry serves them by version."""
    signature: str
    """Hex HMAC-SHA256 of the snapshot's bytes, made by the learner."""
    size: int
    """Of the snapshot, in bytes."""
    spec: str
    """Hash of the pipeline file it was learned under."""
    log_id: str
    """The log of examples it was folded from."""
    examples_offset: int
    """How far that log was folded (exclusive)."""
    previous: int | None
    """The version that the alias named before, or null."""
    actor: str
    """Who decided."""
    reason: str
    """Why, in their words."""
    at: datetime
    """When."""
