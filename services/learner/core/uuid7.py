"""UUID version 7 (RFC 9562): ordered by time, made from a given time and given randomness."""

from __future__ import annotations

RANDOM_BITS = 74
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_LOW_BITS = 62


def uuid7(milliseconds: int, randomness: int) -> str:
    """The UUID of a moment (ms since the epoch, 48 bits are kept) and 74 random bits, as text."""
    high, low = divmod(randomness & ((1 << RANDOM_BITS) - 1), 1 << _LOW_BITS)
    digits = f"{(milliseconds & ((1 << 48) - 1)) << 80 | _VERSION | high << 64 | _VARIANT | low:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
