"""Telling people of candidates that the log withdraws, and of those that it takes up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.alerts import Position
from schemas.examples import Control, Withdrawn
from schemas.predictions import ModelRef
from schemas.topics import topic_name
from services.domain import model_alerts
from services.domain.records import Out
from services.domain.spec import Spec, from_canonical


def alerts(before: Control | None, after: Control, versions: Mapping[str, int], now: int) -> Iterator[Out]:
    """What a control record changes for people: an alert for each candidate that it withdraws, its end for each that
    was withdrawn and is no longer. ``versions`` are the last published, ``now`` is in ms.
    """
    spec = from_canonical(after.pipeline)
    known = before.withdrawn if before else []
    for it in after.withdrawn:
        if it not in known:
            yield _alert(spec, after, it, versions, now, over=False)
    for it in known:
        if it not in after.withdrawn:
            yield _alert(spec, before or after, it, versions, now, over=True)


def _alert(spec: Spec, control: Control, it: Withdrawn, versions: Mapping[str, int], now: int, *, over: bool) -> Out:
    name, candidate = spec.pipeline.name, it.candidate
    goes_on = candidate in {each.name for each in spec.model.candidates}
    if not over:
        then = (
            f"scoring keeps its version {versions.get(candidate, 0)}, the other candidates learn on. Correct the model and "
            "change the pipeline file (a new name for the candidate is enough); it then starts anew"
        )
    else:
        then = "a changed pipeline file " + ("has started it anew" if goes_on else "no longer has it")
    return model_alerts.alert(
        model_alerts.incident_id(name, "learner", control.log_id, candidate, it.examples_offset),
        f"candidate/{candidate}",
        f"{candidate} is withdrawn from learning: {it.cause}; {then}",
        Position(topic_name(name, "examples"), 0, it.examples_offset - 1),
        now,
        model=ModelRef(name, candidate, versions.get(candidate, 0), it.examples_offset),
        resolution=("recovered" if goes_on else "accepted") if over else None,
    )
