"""What is connected to what in drift: predictions and examples are summarised; summaries are judged, alerts raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import get_args

from schemas.state import Checkpoint
from services.drift.core.detect import Detect
from services.drift.core.incidents import Kind, Severity
from services.drift.core.summarise import Summarise
from services.runtime import metrics, readback
from services.runtime.launch import Deployment
from services.runtime.stage import Driver, Stage
from services.runtime.worker import Handler

_EVERY_MS = 500
"""Incidents take blocks of hundreds of events to show: half a second more is nothing, many small transactions are."""


class DetectDriver(Driver):
    """Adds signals and open incidents to the metrics."""

    core: Detect

    def report(self) -> None:
        """Set the gauges of signals and of open incidents."""
        for signal in self.core.signals():
            metrics.DRIFT_SUM_RATIO.labels(signal.name).set(signal.sum_ratio)
            metrics.DRIFT_OUT.labels(signal.name).set(signal.out)
            metrics.DRIFT_LEVEL.labels(signal.name).set(signal.level)
            metrics.DRIFT_REFERENCE.labels(signal.name).set(signal.reference)
        incidents = self.core.incidents()
        for kind, severity in product(get_args(Kind), get_args(Severity)):
            metrics.INCIDENTS_OPEN.labels(kind, severity).set(incidents[kind, severity])

    async def close(self) -> None:
        """Another process detects now."""
        for gauge in metrics.OF_DETECTION:
            gauge.clear()


def wire(deployment: Deployment, counts: dict[str, int]) -> tuple[Sequence[Stage], Mapping[str, Handler]]:
    """Stage ``summarise`` (a lane a partition of predictions; lane 0 reads examples too) and the fold ``detect``."""
    spec, partitions = deployment.spec, deployment.partitions
    predictions, examples = deployment.topic("predictions"), deployment.topic("examples")
    summaries = deployment.topic("summaries")

    async def open_summarise(lane: int, checkpoint: Checkpoint | None) -> Driver:
        core = Summarise(spec, lane, partitions, predictions, examples)
        if checkpoint is not None:
            core.restore(bytes(checkpoint.data), checkpoint.totals)
        return Driver(core)

    async def open_detect(lane: int, checkpoint: Checkpoint | None) -> Driver:  # noqa: ARG001 - a fold has one lane
        core = Detect(spec)
        if checkpoint is not None:
            reached = checkpoint.inputs.get(summaries, 0)
            low = checkpoint.low_water.get(summaries, reached)
            waiting = [
                record
                async for batch in readback.records(deployment.settings, summaries, 0, low, reached)
                for record in batch
            ]
            core.restore(bytes(checkpoint.data), checkpoint.totals, waiting)
        return DetectDriver(core)

    inputs = {topic: counts[topic] for topic in (predictions, examples)}
    return [
        deployment.stage("drift", "summarise", inputs, open_summarise, every_ms=_EVERY_MS),
        deployment.stage("drift", "detect", {summaries: counts[summaries]}, open_detect, every_ms=_EVERY_MS),
    ], {}
