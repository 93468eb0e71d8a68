from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.domain.records import Header


@dataclass(frozen=True, slots=True)
class Rec:
    """One Kafka record, as a core reads it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()
