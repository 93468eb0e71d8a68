"""``predictions``: one score an event, keyed by event id. Written by scoring, read by consumers, join and drift."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.events import Value


class ModelRef(msgspec.Struct, frozen=True):
    """What a score was made with: the state after folding ``examples`` up to ``examples_offset`` (exclusive).

    ``version`` is the candidate's last published version at or below that offset.
    """

    name: str
    candidate: str
    version: int
    examples_offset: int


class ChallengerScore(msgspec.Struct, frozen=True):
    """A challenger's score of the same features."""

    candidate: str
    version: int
    examples_offset: int
    score: float


class Prediction(msgspec.Struct):
    """Binary: ``score`` is P(true), ``prediction`` is score >= threshold. Regression: both are the estimate.

    ``encoded`` maps an encoding's name (its fields joined by ``+``, ``*`` for the overall one) to one number a
    half-life, exactly as served: the learner learns from these, never from a recomputation.
    """

    event_id: str
    time: datetime
    score: float
    prediction: bool | float
    model: ModelRef
    encodings_offset: int
    challengers: list[ChallengerScore]
    features: dict[str, Value]
    encoded: dict[str, list[float]]
    spec: str
