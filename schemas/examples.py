"""``examples``: the model's history, one partition. Replaying it from offset 0 rebuilds every model state."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.events import Value
from schemas.predictions import ChallengerScore, ModelRef


class Example(msgspec.Struct, tag="example", tag_field="kind"):
    """A prediction joined with its label. ``corrects`` is the label this one replaces, or null.

    ``score`` and ``challengers`` were made before the label was known (prequential evaluation, Gama et al. 2013).
    """

    event_id: str
    time: datetime
    label_time: datetime
    features: dict[str, Value]
    encoded: dict[str, list[float]]
    label: bool | float
    score: float
    model: ModelRef
    challengers: list[ChallengerScore]
    spec: str
    weight: float = 1.0
    corrects: bool | float | None = None


class Withdrawn(msgspec.Struct, frozen=True):
    """A candidate that cannot go on: the fold drops it. ``examples_offset`` is the state that showed it, ``cause`` how."""

    candidate: str
    examples_offset: int
    cause: str


class Control(msgspec.Struct, tag="control", tag_field="kind"):
    """A change of the fold itself: from here on ``pipeline`` (canonical JSON, in full) is in force.

    ``log_id`` is a UUIDv7 made with the first control record of a log; a greater one is newer. Of the pipeline's
    candidates the fold has all but those ``withdrawn``.
    """

    log_id: str
    spec: str
    pipeline: str
    withdrawn: list[Withdrawn] = []


Record = Example | Control
