"""``predictions``: one score an event, keyed by event id. Written by scoring, read by consumers, join and drift."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.events import Value


class ModelRef(msgspec.Struct, frozen=True):
    """A state of the model, exactly: a candidate after folding ``examples`` up to an offset."""

    name: str
    """The model: the pipeline's name."""
    candidate: str
    """Which of its candidates."""
    version: int
    """The candidate's last published version at or below ``examples_offset``."""
    examples_offset: int
    """How far ``examples`` was folded (exclusive)."""


class ChallengerScore(msgspec.Struct, frozen=True):
    """A challenger's score of the same features."""

    candidate: str
    """Its name in the pipeline file."""
    version: int
    """As for the champion."""
    examples_offset: int
    """As for the champion."""
    score: float
    """Its score of the event."""


class Prediction(msgspec.Struct):
    """A score of one event. The learner learns from what it holds, as served, and never from a recomputation."""

    event_id: str
    """The record's key."""
    time: datetime
    """Event time."""
    score: float
    """Binary: P(true). Regression: the estimate."""
    prediction: bool | float
    """Binary: score >= threshold. Regression: the estimate."""
    model: ModelRef
    """What the score was made with."""
    encodings_offset: int
    """The state of the encodings: ``examples`` folded up to here (exclusive)."""
    challengers: list[ChallengerScore]
    """What the other candidates said."""
    features: dict[str, Value]
    """What the model saw, by name; null is missing."""
    encoded: dict[str, list[float]]
    """One number a half-life by encoding (its fields joined by ``+``, ``*`` for the overall one), exactly as served."""
    spec: str
    """Hash of the pipeline file that cleaned the event."""
