"""``labels.clean``: one validated label, keyed by event id. Written by cleaning, read by the learner's join."""

from __future__ import annotations

from datetime import datetime

import msgspec


class CleanLabel(msgspec.Struct):
    """A label: boolean for a binary task, a finite number for regression; ``time`` is when it became known."""

    event_id: str
    time: datetime
    label: bool | float
