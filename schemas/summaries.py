"""``summaries``: mergeable sufficient statistics of a part of a block, one partition. Written by drift, read by it and by the registry."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from schemas.predictions import ModelRef

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with an offset: one without cannot be compared."""


class Moments(msgspec.Struct, array_like=False):
    """Count, sum and sum of squares of the present values, and how many were missing."""

    count: int = 0
    """How many values."""
    sum: float = 0.0
    """Of the values."""
    sum_sq: float = 0.0
    """Of their squares."""
    missing: int = 0
    """How many had no value."""


class FeatureMoments(msgspec.Struct):
    """Moments of a feature. A lane clips values at 4 of its standard deviations from its mean (z clipped, in the feature's
    own unit), so that one wild value moves little.
    """

    count: int = 0
    """Values present."""
    missing: int = 0
    """Values missing."""
    sum: float = 0.0
    """Of the values at most 8 standard deviations away."""
    clipped_count: int = 0
    """Values clipped by; 0 for booleans and categories, and until a lane has seen enough values."""
    centre: float = 0.0
    """The lane's mean."""
    clipped: float = 0.0
    """Sum of the clipped values' distances from ``centre``."""
    clipped_sq: float = 0.0
    """Sum of their squares."""
    scale: float = 0.0
    """The lane's standard deviation."""


class Summary(msgspec.Struct):
    """A part of a block, of one lane: the records from ``first_offset`` to ``last_offset``."""

    lane: int
    """The partition summarised."""
    source: str
    """``predictions`` or ``examples``."""
    first_offset: int
    """First record summarised."""
    last_offset: int
    """Last record summarised."""
    start: Time
    """Least event time."""
    end: Time
    """Greatest event time."""
    events: int
    """How many."""
    features: dict[str, FeatureMoments]
    """One entry a feature; empty for ``examples``."""
    score: Moments
    """Of the champion's scores."""
    loss: dict[str, Moments]
    """Log loss, or squared error, by candidate; empty for ``predictions``."""
    spec: str
    """Hash of the last record's pipeline file."""
    watermark: Time
    """The third-greatest event time: one or two wild ones move nothing."""
    model: ModelRef | None = None
    """The last record's."""
