"""Cleaning and scoring with at-least-once delivery: after kill -9 nothing is lost, and what is repeated is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from services.domain.murmur import partition
from services.runtime import clients
from tests.integration.load import Load
from tests.integration.pipelines import PARTITIONS, Pipeline, file, fresh_name, send, until

PORTION = 1500
SENT_AGAIN = 50


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline whose cleaning and scoring prefer latency; drift does not take part."""
    with Pipeline(tmp_path_factory.mktemp("least"), broker, file(fresh_name("least"))) as started:
        started.start("registry")
        started.start("learner")
        for service in ("cleaning", "scoring"):
            started.start(service, RIVERMILL_DELIVERY="at_least_once")
        started.wait_ready()
        yield started


async def total(pipeline: Pipeline, stage: str, name: str) -> int:
    return (await pipeline.totals())[stage].get(name, 0)


async def killed_at_work(pipeline: Pipeline) -> Load:
    """Produce four portions; in the middle of each, end cleaning or scoring."""
    deployment, stream = pipeline.deployment, Load("least")
    for service, stage, name in (("cleaning", "clean", "events"), ("scoring", "score", "in")) * 2:
        events, labels = stream.portion(PORTION)
        before = await total(pipeline, stage, name)
        await send(deployment, deployment.topic("events.raw"), events)
        await send(deployment, deployment.topic("labels.raw"), labels)

        async def begun(stage: str = stage, name: str = name, before: int = before) -> bool:
            return await total(pipeline, stage, name) > before

        await until(begun, f"{stage} to begin; {pipeline.last_words(service)}")
        pipeline.kill(service)
        pipeline.restart(service)
    await send(deployment, deployment.topic("labels.raw"), stream.rest())
    return stream


async def send_predictions_again(pipeline: Pipeline) -> None:
    """Some predictions once more, as a crash between their commit and the checkpoint would make them."""
    topic = pipeline.deployment.topic("predictions")
    producer = clients.idempotent_producer(pipeline.deployment.settings)
    await producer.start()
    try:
        for record in (await pipeline.records("predictions"))[:SENT_AGAIN]:
            where = partition(record.key, PARTITIONS)
            assert where == record.partition
            await producer.send(topic, record.value, key=record.key, partition=where, timestamp_ms=record.timestamp)
    finally:
        await producer.stop()


def test_nothing_is_lost_and_the_join_counts_what_is_repeated(pipeline: Pipeline) -> None:
    """Every event has a prediction and every label an outcome, though services died; repeats change nothing but a count."""

    async def scenario() -> None:
        stream = await killed_at_work(pipeline)
        names = {f"least-{number}".encode() for number in range(4 * PORTION)}

        async def all_predicted() -> bool:
            return {record.key for record in await pipeline.records("predictions")} >= names

        await until(all_predicted, f"a prediction of every event; {pipeline.last_words('scoring')}")

        async def all_joined() -> bool:
            join = (await pipeline.totals())["join"]
            labels, predictions = (
                len(await pipeline.records("labels.clean")),
                len(await pipeline.records("predictions")),
            )
            enough = labels >= stream.expected["labels"]
            return enough and (join.get("labels"), join.get("predictions")) == (labels, predictions)

        await until(all_joined, f"everything joined; {pipeline.last_words('learner')}")
        await send_predictions_again(pipeline)
        await until(all_joined, f"everything joined; {pipeline.last_words('learner')}")
        join = (await pipeline.totals())["join"]
        assert {record.key for record in await pipeline.records("events.clean")} == names
        assert join["repeats"] == join["predictions"] - len(names) >= SENT_AGAIN
        assert join["predictions"] == sum(join[name] for name in ("labelled", "expired", "pending", "repeats"))
        ends = ("labelled", "corrected", "duplicate", "superseded", "orphan", "waiting")
        assert join["labels"] == sum(join[name] for name in ends)
        await until(all_learned, "every labelled prediction learned once")

    async def all_learned() -> bool:
        stages = await pipeline.totals()
        return stages["train"].get("examples") == stages["join"]["labelled"]

    asyncio.run(scenario())
