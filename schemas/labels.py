"""``labels.clean``: one validated label, keyed by event id. Written by cleaning, read by the learner's join."""

from __future__ import annotations

from datetime import datetime

import msgspec


class CleanLabel(msgspec.Struct):
    """A cleaned label."""

    event_id: str
    """The record's key: the event that it is for."""
    time: datetime
    """When the label became known."""
    label: bool | float
    """A boolean for a binary task, a finite number for regression."""
