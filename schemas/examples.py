"""``examples``: the model's history, one partition. Replaying it from offset 0 rebuilds every model state."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.events import Value
from schemas.predictions import ChallengerScore, ModelRef


class Example(msgspec.Struct, tag="example", tag_field="kind"):
    """A prediction joined with its label."""

    event_id: str
    """The event's id."""
    time: datetime
    """Event time."""
    label_time: datetime
    """When the label became known, by its own time."""
    features: dict[str, Value]
    """As scored."""
    encoded: dict[str, list[float]]
    """As served with the prediction."""
    label: bool | float
    """What turned out to be true."""
    score: float
    """The champion's, made before the label was known (prequential evaluation, Gama et al. 2013)."""
    model: ModelRef
    """What the score was made with."""
    challengers: list[ChallengerScore]
    """The other candidates' scores, made with it."""
    spec: str
    """Hash of the pipeline file that cleaned the event."""
    weight: float = 1.0
    """How much it counts when it is learned."""
    corrects: bool | float | None = None
    """The label that this one replaces, or null."""


class Withdrawn(msgspec.Struct, frozen=True):
    """A candidate that cannot go on: the fold drops it."""

    candidate: str
    """Its name in the pipeline file."""
    examples_offset: int
    """The state that showed it: the log folded up to here (exclusive)."""
    cause: str
    """What failed, in words."""


class Control(msgspec.Struct, tag="control", tag_field="kind"):
    """A change of the fold itself: from here on ``pipeline`` is in force, but for the candidates ``withdrawn``."""

    log_id: str
    """A UUIDv7 made with the first control record of a log; a greater one is newer."""
    spec: str
    """Hash of ``pipeline``."""
    pipeline: str
    """The pipeline file as canonical JSON, in full."""
    withdrawn: list[Withdrawn] = []
    """Candidates of the file that the fold does without."""


Record = Example | Control
