"""``parameters``: the live state of the fold, key ``live``, one partition. Written by train, read by scoring.

The value is msgpack (:class:`LiveParameters`), signed; never pickle.
"""

from __future__ import annotations

import msgspec


class LiveCandidate(msgspec.Struct):
    """One candidate at the record's offset."""

    version: int
    """The last published one at or below the record's offset."""
    parameters: bytes
    """The model's own msgpack."""


class LiveParameters(msgspec.Struct):
    """All small candidates and the encodings at one ``examples_offset``."""

    log_id: str
    """The log of examples that was folded."""
    examples_offset: int
    """How far (exclusive). Readers take a greater ``log_id`` first, then a greater offset."""
    spec: str
    """Hash of the pipeline file in force there."""
    plan: bytes
    """Msgpack of the features, crosses and encodings that the candidates need."""
    encodings: bytes
    """Msgpack of the encodings' state."""
    candidates: dict[str, LiveCandidate]
    """The candidates that are small enough, by name."""
    label_came_in_ms: int = 0
    """Kafka timestamp of the newest label folded, 0 for none."""
    labels_came_in_ms: list[int] = []
    """Kafka timestamps of the labels folded since the previous record, the newest 200 of them: scoring measures
    freshness by them."""
    signature: bytes = b""
    """HMAC-SHA256 over the msgpack of the record with an empty signature."""
