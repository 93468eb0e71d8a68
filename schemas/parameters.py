"""``parameters``: the live state of the fold, key ``live``, one partition. Written by train, read by scoring.

The value is msgpack (:class:`LiveParameters`), signed; never pickle.
"""

from __future__ import annotations

import msgspec


class LiveCandidate(msgspec.Struct):
    """``version`` is the last published at or below the offset; ``parameters`` the model's own msgpack bytes."""

    version: int
    parameters: bytes


class LiveParameters(msgspec.Struct):
    """All small candidates and the encodings at one ``examples_offset`` (exclusive).

    ``plan`` is the msgpack of the features, crosses and encodings they need. ``label_came_in_ms`` is the Kafka
    timestamp of the newest label folded (0: none), for freshness. ``signature`` is HMAC-SHA256 over the msgpack
    of the record with an empty signature. ``labels_came_in_ms`` are the Kafka timestamps of the labels folded since the
    previous record (the newest 200 of them): scoring measures freshness by them.
    """

    log_id: str
    examples_offset: int
    spec: str
    plan: bytes
    encodings: bytes
    candidates: dict[str, LiveCandidate]
    label_came_in_ms: int = 0
    labels_came_in_ms: list[int] = []
    signature: bytes = b""
