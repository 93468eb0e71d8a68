"""What is connected to what in cleaning: raw events, raw labels and re-keyed records in; one stage, ``clean``."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.state import Checkpoint
from services.cleaning.core.clean import Clean, Inputs
from services.runtime import readback
from services.runtime.launch import Deployment
from services.runtime.stage import Driver, Stage


async def stages(deployment: Deployment) -> Sequence[Stage]:
    """The stage ``clean``: one lane for each partition of whichever raw topic has most."""
    counts = await deployment.ensure_topics()
    spec, settings, partitions = deployment.spec, deployment.settings, deployment.partitions
    topics = Inputs(events=deployment.events_topic, labels=deployment.labels_topic, rekeyed=deployment.topic("rekeyed"))

    async def open_lane(lane: int, checkpoint: Checkpoint | None) -> Driver:
        core = Clean(spec, lane, partitions, topics)
        keys: list[bytes] = []
        if lane < partitions:
            clean = deployment.topic("events.clean")
            keys = await readback.last_keys(settings, clean, lane, spec.event.dedupe_ids)
        if checkpoint is not None:
            core.restore(bytes(checkpoint.data), checkpoint.totals, keys)
        return Driver(core)

    return [
        Stage(
            service="cleaning",
            name="clean",
            pipeline=deployment.name,
            partitions=partitions,
            counts={topic: counts[topic] for topic in (topics.rekeyed, topics.events, topics.labels)},
            open=open_lane,
            settings=settings,
            delivery=settings.delivery,
        )
    ]
