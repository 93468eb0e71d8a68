"""A join without input for longer than its topics are kept: what waits is not lost with them."""

from __future__ import annotations

import asyncio
import string
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import TopicPartition
from prometheus_client import REGISTRY

from schemas.codec import encode
from schemas.labels import CleanLabel
from schemas.outcomes import Outcome
from services.learner import joining
from services.learner.app import wire
from services.learner.core.join import Join
from services.learner.core.values import MOST_IN_MEMORY
from services.learner.disk import DiskError
from services.runtime import checkpoints, clients, readback
from services.runtime.ending import USER_ERROR, exit_code
from services.runtime.launch import Deployment
from services.runtime.membership import Membership
from services.runtime.readback import LogTruncatedError
from services.runtime.stage import Stage
from tests.integration.copying import running, until
from tests.integration.pipelines import deployed, file
from tests.unit.learner.join_lane import at, made_prediction
from tests.unit.room import room_for

LOGS = ("predictions", "labels.clean", "outcomes")


async def make_join(folder: Path, broker: str, name: str, horizon: str) -> tuple[Deployment, Stage]:
    text = file(name).replace("partitions = 4", f'partitions = 1\nretention = "{horizon}"')
    deployment = deployed(folder / "pipeline.toml", text.replace('horizon = "2h"', f'horizon = "{horizon}"'), broker)
    (stage,), _ = wire(deployment, await deployment.ensure_topics(), "join")
    return deployment, stage


async def feed(deployment: Deployment, predictions: str = "", labels: str = "", minutes: float = 0) -> None:
    """A prediction, or a label, of each of these letters, in one transaction, as scoring and cleaning write them."""
    producer = clients.transactional_producer(deployment.settings, f"{deployment.name}.test")
    await producer.start()
    async with producer.transaction():
        for event_id in predictions:
            value = encode(made_prediction(event_id, at(minutes)))
            await producer.send(deployment.topic("predictions"), value, key=event_id.encode())
        for event_id in labels:
            value = encode(CleanLabel(event_id, at(minutes), True))
            await producer.send(deployment.topic("labels.clean"), value, key=event_id.encode())
    await producer.stop()


async def emptied(deployment: Deployment) -> None:
    """What retention does to these logs when nothing has come for long."""
    places = [TopicPartition(deployment.topic(stream), 0) for stream in LOGS]
    ends = [(await readback.bounds(deployment.settings, place.topic, 0))[1] for place in places]
    async with clients.admin(deployment.settings) as admin:
        await admin.delete_records({place: RecordsToDelete(end) for place, end in zip(places, ends, strict=True)})


async def told(deployment: Deployment) -> dict[str, str]:
    """States by id, as far as they are not deleted."""
    found = {}
    async for batch in readback.everything(deployment.settings, deployment.topic("outcomes"), 0):
        for record in batch:
            outcome = msgspec.json.decode(record.value, type=Outcome)
            found[outcome.event_id] = outcome.state
    return found


@pytest.mark.parametrize("most_in_memory", [0, MOST_IN_MEMORY])
def test_what_waits_outlives_the_logs_of_an_idle_lane(
    broker: str, pipeline_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_in_memory: int
) -> None:
    """Once it lies in the state topic, a prediction meets its label, and a label its prediction, whatever was deleted,
    with its predictions in memory or on the local disk.
    """
    monkeypatch.setattr(joining, "Join", partial(Join, most_in_memory=most_in_memory))
    lane = {"stage": "join", "lane": "0"}

    async def run() -> None:
        deployment, stage = await make_join(tmp_path, broker, pipeline_name, "1s")
        settings = deployment.settings
        await feed(deployment, predictions="pq", labels="lq")

        async def spilled() -> bool:
            found = checkpoints.spilled(settings, stage.state_topic, 0, b"join/0/")
            keys = [record.key or b"" async for batch in found for record in batch]
            return sorted(keys) == [b"join/0/l", b"join/0/p", b"join/0/q"]

        async def answered() -> bool:
            on_disk = REGISTRY.get_sample_value("rivermill_predictions_on_disk", lane)
            return await told(deployment) == {"p": "labelled", "l": "labelled"} and on_disk == (
                0 if most_in_memory else 3
            )

        async with running(stage):
            await until(spilled)
        await emptied(deployment)
        await feed(deployment, predictions="l", labels="p")
        async with running(stage):
            await until(answered)
            await until(spilled)  # each once, in its newest form
        learned = readback.everything(settings, deployment.topic("examples"), 0)
        assert sorted([record.key async for batch in learned for record in batch]) == [b"l", b"p", b"q"]

    asyncio.run(run())


def test_a_lane_without_input_writes_down_what_it_has_forgotten(
    broker: str, pipeline_name: str, tmp_path: Path
) -> None:
    """Its checkpoint would else have it read back from where it lay, which may be deleted by then."""

    async def run() -> None:
        deployment, stage = await make_join(tmp_path, broker, pipeline_name, "1h")
        await feed(deployment, predictions="p", labels="p")
        await feed(deployment, predictions="xyz", minutes=100)

        async def written() -> bool:
            checkpoint = await checkpoints.last(deployment.settings, stage.state_topic, 0, stage.checkpoint_key(0))
            return checkpoint is not None and checkpoint.low_water[deployment.topic("predictions")] > 0

        async with running(stage):
            await until(written)

    asyncio.run(run())


def test_what_was_deleted_before_that_is_told_in_a_line(broker: str, pipeline_name: str, tmp_path: Path) -> None:
    """It is for the operator to decide: the service ends, and is not started again and again."""

    async def run() -> None:
        deployment, stage = await make_join(tmp_path, broker, pipeline_name, "1h")
        await feed(deployment, predictions="p", labels="q")

        async def counted() -> bool:
            checkpoint = await checkpoints.last(deployment.settings, stage.state_topic, 0, stage.checkpoint_key(0))
            return checkpoint is not None and checkpoint.totals["pending"] == checkpoint.totals["waiting"] == 1

        async with running(stage):
            await until(counted)
        await emptied(deployment)
        with pytest.raises(
            LogTruncatedError, match="Nothing brings them back: start anew with `rivermill reset`"
        ) as error:
            await Membership(stage).run()
        assert exit_code(error.value) == USER_ERROR

    asyncio.run(run())


def test_a_full_disk_is_told_in_a_line_and_loses_nothing(
    broker: str, pipeline_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learner ends, and is started again: once there is room all is remembered."""
    monkeypatch.setattr(joining, "Join", partial(Join, most_in_memory=0))

    async def run() -> None:
        deployment, stage = await make_join(tmp_path, broker, pipeline_name, "1h")
        await feed(deployment, predictions=string.ascii_letters)

        async def counted() -> bool:
            checkpoint = await checkpoints.last(deployment.settings, stage.state_topic, 0, stage.checkpoint_key(0))
            return checkpoint is not None and checkpoint.totals["pending"] == len(string.ascii_letters)

        with room_for(16 * 1024), pytest.raises(DiskError, match="make room there") as error:
            await Membership(stage).run()
        assert exit_code(error.value) == 1
        assert not await counted()
        async with running(stage):
            await until(counted)

    asyncio.run(run())
