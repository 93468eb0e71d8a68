"""What is connected to what in cleaning: raw events, raw labels and re-keyed records in; one stage, ``clean``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from schemas.state import Checkpoint
from schemas.topics import DEADLETTER_EXTRA_BYTES
from services.cleaning.core.clean import Clean, Inputs
from services.runtime import metrics, readback
from services.runtime import topics as kafka_topics
from services.runtime.launch import Deployment
from services.runtime.stage import Driver, Stage
from services.runtime.worker import Handler


class CleanDriver(Driver):
    """Adds what is known of the fields and of the remembered ids to the metrics."""

    core: Clean

    def __init__(self, core: Clean, lane: int) -> None:
        super().__init__(core)
        self._labels = ("clean", str(lane))

    def report(self) -> None:
        """Set the gauges of fields, unknown fields and deduplication, and count the repairs."""
        metrics.DEDUPE_SPAN_SECONDS.labels(*self._labels).set(self.core.dedupe_span / 1000)
        for field, profile in self.core.profiles().items():
            seen = profile.count + profile.missing
            metrics.FIELD_INVARIABLE.labels(*self._labels, field).set(profile.invariable)
            metrics.FIELD_MISSING_RATIO.labels(*self._labels, field).set(profile.missing / seen if seen else 0.0)
        for field, records in self.core.unknown_fields.items():
            metrics.UNKNOWN_FIELDS.labels(*self._labels, field).set(records)
        for (field, rule), changes in self.core.take_repairs().items():
            metrics.REPAIRS.labels(field, rule).inc(changes)


def wire(deployment: Deployment, counts: dict[str, int]) -> tuple[Sequence[Stage], Mapping[str, Handler]]:
    """The stage ``clean``: one lane for each partition of whichever raw topic has most."""
    spec, settings, partitions = deployment.spec, deployment.settings, deployment.partitions
    topics = Inputs(events=deployment.events_topic, labels=deployment.labels_topic, rekeyed=deployment.topic("rekeyed"))

    async def passed(lane: int, checkpoint: Checkpoint | None) -> list[bytes]:
        if checkpoint is None or lane >= partitions:
            return []
        return await readback.last_keys(settings, deployment.topic("events.clean"), lane, spec.event.dedupe_ids)

    async def open_clean(lane: int, checkpoint: Checkpoint | None) -> Driver:
        limit, keys = await asyncio.gather(
            kafka_topics.message_limit(settings, deployment.topic("deadletter")), passed(lane, checkpoint)
        )
        core = Clean(spec, lane, partitions, topics, limit - DEADLETTER_EXTRA_BYTES)
        if checkpoint is not None:
            core.restore(bytes(checkpoint.data), checkpoint.totals, keys)
        return CleanDriver(core, lane)

    inputs = {topic: counts[topic] for topic in (topics.rekeyed, topics.events, topics.labels)}
    return [deployment.stage("cleaning", "clean", inputs, open_clean, delivery=settings.delivery)], {}
