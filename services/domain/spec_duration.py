"""Durations as the pipeline file writes them."""

from __future__ import annotations

import re
from datetime import timedelta

from services.domain.spec_tables import SpecError

_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)\Z")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
LONGEST = timedelta(days=3650)


def duration(text: str) -> timedelta:
    """``"100ms"``, ``"5s"``, ``"1m"``, ``"6h"``, ``"7d"`` to a timedelta of 1 ms to ten years; SpecError otherwise."""
    found = _DURATION.match(text)
    if found:
        count, unit = int(found[1]), _UNITS[found[2]]
        if 0 < count <= LONGEST / unit:
            return count * unit
    raise SpecError(f'expected a duration of 1 ms to 3650 d, like "100ms", "5s", "1m", "6h" or "7d", got "{text[:60]}"')
