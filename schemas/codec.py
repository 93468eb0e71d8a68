"""The one JSON codec: msgspec, deterministic field order, RFC 3339 UTC times with ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

type_decoder = msgspec.json.Decoder
_ENCODER = msgspec.json.Encoder()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

encode = _ENCODER.encode
"""Encode one contract Struct to UTF-8 JSON bytes (NaN and infinities become null: keep them out)."""


def canonical(value: Any) -> bytes:
    """Encode with sorted keys: the form that is hashed or signed (after RFC 8785, without its number rules)."""
    return msgspec.json.encode(value, order="sorted")


def from_ms(milliseconds: int) -> datetime:
    """Kafka timestamp (milliseconds since the epoch) to an aware UTC datetime."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_ms(moment: datetime) -> int:
    """Aware datetime to a Kafka timestamp (milliseconds since the epoch, rounded down)."""
    return (moment - _EPOCH) // _MILLISECOND
