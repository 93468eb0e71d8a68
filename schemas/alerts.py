"""``alerts``: incidents told, keyed by incident id, one partition. Written by drift, scoring and learner."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from schemas.predictions import ModelRef


class Suspect(msgspec.Struct, frozen=True):
    """A ranked cause of an incident."""

    feature: str
    """A feature's name; for ``loss`` a candidate's, for ``mean score`` the score."""
    share: float
    """Its part of the incident's evidence, 0 to 1."""
    before: float | None
    """The statistic before the change, or null."""
    after: float | None
    """The statistic since the change, or null."""
    statistic: str = "mean"
    """``mean``, ``standard deviation``, ``share of missing values``, ``mean score`` or ``loss``."""


class Position(msgspec.Struct, frozen=True):
    """The record that raised the alert."""

    topic: str
    """Its full name."""
    partition: int
    """Counted from 0."""
    offset: int
    """In that partition."""


class Alert(msgspec.Struct):
    """One step in the life of an incident: opened, updated, resolved."""

    alert_id: str
    """The same when one step is told twice, as scoring processes may."""
    incident_id: str
    """The record's key: the same for every step of an incident."""
    state: Literal["opened", "updated", "resolved"]
    """The step."""
    resolution: Literal["recovered", "accepted"] | None
    """How it ended: ``recovered`` (back where it was) or ``accepted`` (the new level is the norm, or the signal is gone); else null."""
    kind: Literal["drift", "performance", "data_quality", "model"]
    """``model``: a model or its state cannot be used; the others are what drift watches."""
    severity: Literal["warning", "critical"]
    """How far it is out."""
    signal: str
    """What was flagged."""
    summary: str
    """One sentence for a person."""
    evidence: dict[str, float | str | None]
    """What the detector saw, by name."""
    suspects: list[Suspect]
    """Strongest first; empty for ``model``."""
    model: ModelRef | None
    """The model it is about, if it is about one."""
    detected_at: datetime
    """The event time reached when drift saw it; for ``model`` the time of the refusal."""
    position: Position
    """Where it was seen."""
