"""Alerts of kind ``model``: a model or its state cannot be used, and later it can. Scoring and the learner raise them."""

from __future__ import annotations

import hashlib
from typing import Literal

from schemas.alerts import Alert, Position
from schemas.codec import encode, from_ms
from schemas.predictions import ModelRef
from services.domain.records import Out

MAX_SUMMARY = 1000


def incident_id(*what: object) -> str:
    """The same 32 characters for the same parts, in any process."""
    return hashlib.sha256("/".join(map(str, what)).encode()).hexdigest()[:32]


def alert(
    incident: str,
    signal: str,
    summary: str,
    position: Position,
    now: int,
    *,
    model: ModelRef | None,
    resolution: Literal["recovered", "accepted"] | None = None,
) -> Out:
    """The record that opens an incident or, with a ``resolution``, ends it; ``now`` in ms."""
    state: Literal["opened", "resolved"] = "resolved" if resolution else "opened"
    told = Alert(
        alert_id=f"{incident}-{state}", incident_id=incident, state=state, resolution=resolution, kind="model",
        severity="critical", signal=signal, summary=summary[:MAX_SUMMARY], evidence={}, suspects=[], model=model,
        detected_at=from_ms(now), position=position,
    )  # fmt: skip
    return Out(incident.encode(), encode(told), now)
