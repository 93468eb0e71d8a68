"""``summaries``: mergeable sufficient statistics of a part of a block, one partition. Written and read by drift."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Moments(msgspec.Struct, array_like=False):
    """Count, sum and sum of squares of the present values, and how many were missing."""

    count: int = 0
    sum: float = 0.0
    sum_sq: float = 0.0
    missing: int = 0


class Summary(msgspec.Struct):
    """A part of a block from lane ``lane``: ``source`` is ``predictions`` or ``examples``.

    ``features`` has one entry a numeric feature: moments of the value itself; ``score`` the moments of the
    champion's score; ``loss`` the moments of the log loss (or squared error) by candidate. ``first_offset`` and
    ``last_offset`` name the records summarised, ``start`` and ``end`` their least and greatest event times.
    """

    lane: int
    source: str
    first_offset: int
    last_offset: int
    start: datetime
    end: datetime
    events: int
    features: dict[str, Moments]
    score: Moments
    loss: dict[str, Moments]
    spec: str
