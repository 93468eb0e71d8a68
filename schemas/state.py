"""``state.<service>``: one checkpoint a lane in every transaction, key ``<stage>/<lane>``, compacted."""

from __future__ import annotations

from datetime import datetime

import msgspec

CHECKPOINT_MAX_BYTES = 64 * 1024


class Checkpoint(msgspec.Struct):
    """Where a lane stands. ``inputs`` are the next offsets to read by topic, ``low_water`` the offsets that a
    restore reads back from. ``totals`` is public (the account is read from it); ``data`` is the stage's own.
    ``control`` is the offset in ``examples`` of the control record in force, in training's checkpoint alone.
    """

    stage: str
    lane: int
    inputs: dict[str, int]
    low_water: dict[str, int]
    watermark: datetime | None
    totals: dict[str, int]
    snapshot: str | None
    data: msgspec.Raw
    control: int | None = None
