"""``summaries``: mergeable sufficient statistics of a part of a block, one partition. Written and read by drift."""

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
    sum: float = 0.0
    sum_sq: float = 0.0
    missing: int = 0


class FeatureMoments(msgspec.Struct):
    """How many values were present and missing, the sum of the present, and moments of the clipped ones.

    A lane clips values at 4 of its standard deviations from its mean (z clipped, in the feature's own unit), so
    that one wild value moves little; ``clipped`` and ``clipped_sq`` are sums of their distances from ``centre`` and
    of the squares, ``scale`` is the lane's standard deviation. ``sum`` takes values at most 8 standard deviations away. ``clipped_count`` is 0 for booleans
    and categories, and until a lane has seen enough values to clip by.
    """

    count: int = 0
    missing: int = 0
    sum: float = 0.0
    clipped_count: int = 0
    centre: float = 0.0
    clipped: float = 0.0
    clipped_sq: float = 0.0
    scale: float = 0.0


class Summary(msgspec.Struct):
    """A part of a block from lane ``lane``: ``source`` is ``predictions`` or ``examples``.

    ``features`` has one entry a feature (empty for ``examples``); ``score`` the moments of the champion's score;
    ``loss`` the moments of the log loss (or squared error) by candidate (empty for ``predictions``).
    ``first_offset`` and ``last_offset`` name the records summarised, ``start`` and ``end`` their least and greatest
    event times, ``watermark`` the third-greatest (one or two wild ones move nothing). ``model`` is the last record's.
    """

    lane: int
    source: str
    first_offset: int
    last_offset: int
    start: Time
    end: Time
    events: int
    features: dict[str, FeatureMoments]
    score: Moments
    loss: dict[str, Moments]
    spec: str
    watermark: Time
    model: ModelRef | None = None
