"""UUID version 7 (RFC 9562): ordered by time, made from a given time and given randomness."""

from __future__ import annotations

from uuid import UUID

RANDOM_BITS = 74
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_LOW_BITS = 62


def uuid7(milliseconds: int, randomness: int) -> str:
    """The UUID of a moment (ms since the epoch, 48 bits are kept) and 74 random bits, as text."""
    high, low = divmod(randomness & ((1 << RANDOM_BITS) - 1), 1 << _LOW_BITS)
    return str(UUID(int=(milliseconds & ((1 << 48) - 1)) << 80 | _VERSION | high << 64 | _VARIANT | low))
