"""``outcomes``: the label ledger, one record for each label and each expiry. Written by the learner's join."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

State = Literal["labelled", "corrected", "duplicate", "superseded", "expired", "orphan"]


class Outcome(msgspec.Struct):
    """What became of one label or one unlabelled prediction."""

    event_id: str
    """The record's key."""
    state: State
    """What became of it."""
    label: bool | float | None
    """The label; for ``expired`` the default label or null."""
    time: datetime
    """The label's own time; for ``expired`` the deadline."""
    label_delay_s: float | None
    """Label time minus event time; null where no prediction is known."""
    prediction_offset: int | None
    """In ``predictions`` of the same partition; null where there is none."""
    label_offset: int | None
    """In ``labels.clean`` of the same partition; null where there is none."""
