"""``outcomes``: the label ledger, one record for each label and each expiry. Written by the learner's join."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

State = Literal["labelled", "corrected", "duplicate", "superseded", "expired", "orphan"]


class Outcome(msgspec.Struct):
    """What became of one label or one unlabelled prediction.

    ``label`` and ``time`` are the label's own (for ``expired``: the default label or null, and the deadline);
    ``label_delay_s`` is label time minus event time, null where no prediction is known; offsets name the
    records in ``predictions`` and ``labels.clean`` of the same partition, null where there is none.
    """

    event_id: str
    state: State
    label: bool | float | None
    time: datetime
    label_delay_s: float | None
    prediction_offset: int | None
    label_offset: int | None
