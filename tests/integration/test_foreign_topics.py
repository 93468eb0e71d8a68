"""A producer's own raw topics, with other numbers of partitions than the pipeline's and whatever keys it likes."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

import pytest

from schemas import deadletter
from schemas.events import CleanEvent
from schemas.labels import CleanLabel
from services.cli.account import books
from services.cli.settle import offsets_produced
from services.cli.topic_batches import Keyed
from services.domain.murmur import partition
from tests.integration.load import START
from tests.integration.pipelines import PARTITIONS, Pipeline, file, fresh_name, make_topics, records, send, until

EVENTS = 600
BOOKS_OF_CLEANING = ("raw events", "raw labels", "re-keyed")


@pytest.fixture(scope="module", params=[(2, 6), (6, 2)], ids=["events-2-labels-6", "events-6-labels-2"])
def pipeline(
    request: pytest.FixtureRequest, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """Cleaning over foreign topics into which everything has been produced, and that has read it all."""
    name = fresh_name("foreign")
    text = file(name, event=f'topic = "{name}-orders"', label=f'topic = "{name}-paid"')
    with Pipeline(tmp_path_factory.mktemp("foreign"), broker, text) as started:
        asyncio.run(
            make_topics(started.deployment, dict(zip((f"{name}-orders", f"{name}-paid"), request.param, strict=True)))
        )
        asyncio.run(produce(started))
        started.start("cleaning")
        asyncio.run(until(lambda: all_read(started), "all that was produced to be cleaned"))
        yield started


async def produce(pipeline: Pipeline) -> None:
    """Events without a key, with another one, with their own; three labels an event under the event's foreign key."""
    events: list[Keyed] = []
    labels: list[Keyed] = []
    for number in range(EVENTS):
        name, at = f"order-{number}", START + timedelta(seconds=number)
        key = (None, f"customer-{number}".encode(), name.encode())[number % 3]
        row = {
            "id": name,
            "at": at.isoformat() if number % 60 else "never",
            "x": 1.0,
            "y": 2.0,
            "vip": True,
            "color": "red",
        }
        events.append((key, json.dumps(row).encode()))
        for turn in range(3):
            label = {"id": name, "late": turn % 2 == 0, "known_at": (at + timedelta(minutes=turn)).isoformat()}
            labels.append((key or b"nobody", json.dumps(label).encode()))
    await send(pipeline.deployment, pipeline.deployment.events_topic, events)
    await send(pipeline.deployment, pipeline.deployment.labels_topic, labels)


async def all_read(pipeline: Pipeline) -> bool:
    clean = (await pipeline.totals())["clean"]
    done = clean.get("events", 0) + clean.get("labels", 0) + clean.get("deadletter.events.time_invalid", 0)
    return done == 4 * EVENTS


def test_every_record_is_placed_by_its_id(pipeline: Pipeline) -> None:
    """Every event and label lies once, on the partition that murmur2 of its id names, under its id."""

    async def scenario() -> None:
        for stream, times in (("events.clean", 1), ("labels.clean", 3)):
            found: dict[str, int] = defaultdict(int)
            for record in await pipeline.records(stream):
                found[record.key.decode()] += 1
                assert record.partition == partition(record.key, PARTITIONS)
            assert set(found.values()) == {times}
        events = {event.event_id for event in await pipeline.decoded("events.clean", CleanEvent)}
        assert events == {f"order-{number}" for number in range(EVENTS) if number % 60}

    asyncio.run(scenario())


def test_what_lies_elsewhere_is_rekeyed_exactly_once(pipeline: Pipeline) -> None:
    """As many records go through `rekeyed` as lie on a partition that is not their id's, and the account balances."""

    async def scenario() -> None:
        deployment = pipeline.deployment
        raw = [
            record
            for topic in (deployment.events_topic, deployment.labels_topic)
            for record in await records(deployment, topic)
        ]
        elsewhere = sum(
            record.partition != partition(json.loads(record.value)["id"].encode(), PARTITIONS) for record in raw
        )
        stages = await pipeline.totals()
        clean = stages["clean"]
        assert elsewhere == clean["rekeyed_events"] + clean["rekeyed_labels"] == clean["rekeyed_in"]
        assert len(await pipeline.records("rekeyed")) == elsewhere
        for equation in books(stages, await offsets_produced(deployment)):
            assert equation.difference == 0 or equation.name not in BOOKS_OF_CLEANING, equation

    asyncio.run(scenario())


def test_records_of_one_key_keep_their_order(pipeline: Pipeline) -> None:
    """The three labels of an order, sent under one foreign key, come out in the order in which they were sent."""

    async def scenario() -> None:
        times = defaultdict(list)
        for label in await pipeline.decoded("labels.clean", CleanLabel):
            times[label.event_id].append(label.time)
        assert all(found == sorted(found) for found in times.values())

    asyncio.run(scenario())


def test_a_rekeyed_dead_letter_is_as_it_came_in(pipeline: Pipeline) -> None:
    """A record that turns out to be bad after it was re-keyed is a dead letter with its first key and place."""

    async def scenario() -> None:
        deployment = pipeline.deployment
        bad = {
            (record.partition, record.offset): record
            for record in await records(deployment, deployment.events_topic)
            if b'"never"' in record.value
        }
        letters = await pipeline.records("deadletter")
        assert len(letters) == len(bad)
        for letter in letters:
            told = {name: value.decode() for name, value in letter.headers}
            original = bad[int(told[deadletter.PARTITION]), int(told[deadletter.OFFSET])]
            assert (letter.key, letter.value) == (original.key, original.value)
            assert (told[deadletter.TOPIC], told[deadletter.RULE]) == (deployment.events_topic, "time_invalid")
            assert deadletter.REKEYED_FROM not in told

    asyncio.run(scenario())
