"""``alerts``: incidents told, keyed by incident id, one partition. Written by drift, scoring and learner."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from schemas.predictions import ModelRef


class Suspect(msgspec.Struct, frozen=True):
    """A ranked cause: ``share`` of the incident's evidence (0 to 1), its ``statistic`` before and after.

    ``statistic`` is ``mean``, ``standard deviation``, ``share of missing values``, ``mean score`` or ``loss``.
    """

    feature: str
    share: float
    before: float | None
    after: float | None
    statistic: str = "mean"


class Position(msgspec.Struct, frozen=True):
    """The record that raised the alert."""

    topic: str
    partition: int
    offset: int


class Alert(msgspec.Struct):
    """One step in the life of an incident: opened, updated, resolved."""

    alert_id: str
    incident_id: str
    state: Literal["opened", "updated", "resolved"]
    resolution: Literal["recovered", "accepted"] | None
    kind: Literal["drift", "performance", "data_quality", "model"]
    severity: Literal["warning", "critical"]
    signal: str
    summary: str
    evidence: dict[str, float | str | None]
    suspects: list[Suspect]
    model: ModelRef | None
    detected_at: datetime
    position: Position
