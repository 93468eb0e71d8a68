"""``summaries``: mergeable sufficient statistics of a part of a block, one partition. Written and read by drift."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.predictions import ModelRef


class Moments(msgspec.Struct, array_like=False):
    """Count, sum and sum of squares of the present values, and how many were missing."""

    count: int = 0
    sum: float = 0.0
    sum_sq: float = 0.0
    missing: int = 0


class FeatureMoments(msgspec.Struct):
    """As :class:`Moments`, and the same of z: the value less the lane's mean, by its standard deviation, clipped at 4.

    Values are taken at most 16 standard deviations from the lane's mean. ``z_count`` is 0 for booleans and
    categories, and until a lane has seen enough values to standardise by.
    """

    count: int = 0
    missing: int = 0
    sum: float = 0.0
    sum_sq: float = 0.0
    z_count: int = 0
    z_sum: float = 0.0
    z_sum_sq: float = 0.0


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
    start: datetime
    end: datetime
    events: int
    features: dict[str, FeatureMoments]
    score: Moments
    loss: dict[str, Moments]
    spec: str
    watermark: datetime
    model: ModelRef | None = None
