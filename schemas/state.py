"""``state.<service>``: one checkpoint a lane in every transaction, key ``<stage>/<lane>``, compacted."""

from __future__ import annotations

from datetime import datetime

import msgspec

CHECKPOINT_MAX_BYTES = 64 * 1024


class Checkpoint(msgspec.Struct):
    """Where a lane stands."""

    stage: str
    """``clean``, ``score``, ``join``, ``train``, ``summarise`` or ``detect``."""
    lane: int
    """The partition that the lane owns."""
    inputs: dict[str, int]
    """Next offset to read, by topic."""
    low_water: dict[str, int]
    """Offset that a restore reads back from, by topic."""
    watermark: datetime | None
    """How far event time has come, or null."""
    totals: dict[str, int]
    """Counts since the beginning; public: the account is drawn up from them."""
    snapshot: str | None
    """The snapshots that training restores from, ``candidate=sha256`` separated by spaces; else null."""
    data: msgspec.Raw
    """The stage's own: may change with any release."""
    control: int | None = None
    """Offset in ``examples`` of the control record in force; training alone has it."""
