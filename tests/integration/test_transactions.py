"""A transaction that is begun while the core still works, on the real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from services.domain.records import Incoming, Out, Output
from services.runtime.stage import Driver, Stage
from services.runtime.transactions import ExactlyOnce, FencedError, Place
from tests.integration.copying import (
    PARTITIONS,
    Copy,
    committed,
    expected,
    has,
    make_stage,
    produce,
    running,
    until,
    values,
)


def places(stage: Stage) -> tuple[Place, Place]:
    """Where lane 0 writes: its output, and its state."""
    return (f"{stage.pipeline}.events.clean", 0), (stage.state_topic, 0)


async def known(publisher: ExactlyOnce, expected: Iterable[Place]) -> None:
    """Wait until the coordinator knows that the first transaction will write there."""
    manager = publisher._producers[0]._txn_manager

    async def all_known() -> bool:
        return {(it.topic, it.partition) for it in manager.txn_partitions} == set(expected)

    await until(all_known, 10)


def test_where_nothing_is_written_after_all_lies_no_record(broker: str, pipeline_name: str) -> None:
    """The coordinator is told before anything is sent; of two partitions that are expected one is written, and another too."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        (target, _), state = places(stage)
        publisher = await ExactlyOnce.open(stage.settings, stage.group, 0)
        await publisher.expect([(target, 0), state])
        await known(publisher, [(target, 0), state])
        for number in range(2):  # expected, and not
            await publisher.publish({(target, number): [Out(b"k", b"v", 0)]}, {})
        await publisher.close()
        for number in range(2):
            assert await committed(broker, target, number) == [b"v"]
        assert await committed(broker, state[0], 0) == []

    asyncio.run(run())


def test_the_coordinator_is_asked_at_once(broker: str, pipeline_name: str) -> None:
    """The request is on its way when the core begins: later, the core would keep the event loop from sending it."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        target, state = places(stage)
        publisher = await ExactlyOnce.open(stage.settings, stage.group, 0)
        for _ in range(2):  # both producers know their coordinator
            await publisher.publish({target: [Out(b"k", b"v", 0)]}, {})
        await publisher.expect([target, state])
        assert any(connection._requests for connection in publisher._producers[0].client._conns.values())
        await publisher.close()

    asyncio.run(run())


def test_an_owner_that_is_fenced_after_it_has_begun_commits_nothing(broker: str, pipeline_name: str) -> None:
    """What it has begun keeps nobody waiting: the next owner's records are read at once."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        target, state = places(stage)
        first = await ExactlyOnce.open(stage.settings, stage.group, 0)
        await first.expect([target, state])
        await known(first, [target, state])
        second = await ExactlyOnce.open(stage.settings, stage.group, 0)
        with pytest.raises(FencedError):
            await first.publish({target: [Out(b"k", b"lost", 0)]}, {})
        await second.publish({target: [Out(b"k", b"kept", 0)]}, {})
        assert await committed(broker, *target) == [b"kept"]
        await asyncio.gather(first.close(), second.close())

    asyncio.run(run())


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is expected of each transaction; a test adds what its core does."""
    found: list[object] = []
    begin = ExactlyOnce.expect

    async def expect(self: ExactlyOnce, places: Iterable[Place]) -> None:
        found.append(set(places))
        await begin(self, places)

    monkeypatch.setattr(ExactlyOnce, "expect", expect)
    return found


def watched(stage: Stage, steps: list[object], record_s: float = 0.0) -> Stage:
    """The stage, whose core adds to the steps that it works, and takes so long for each record."""

    class Watched(Driver):
        def process(self, batch: Sequence[Incoming], now: int) -> Output:
            steps.append("works")
            time.sleep(record_s * len(batch))
            return super().process(batch, now)

    async def open_lane(lane: int, checkpoint: object) -> Driver:
        assert checkpoint is None
        return Watched(Copy(lane, {"in": 0}))

    return replace(stage, open=open_lane)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_lane_begins_before_its_core_works(broker: str, pipeline_name: str, steps: list[object], ahead: bool) -> None:
    """It expects to write where its last batch was written; but not while that one is still being committed."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, 1, ahead=ahead, max_batch=50)
        await produce(broker, f"{pipeline_name}.events.raw", values(0, 100))
        async with running(watched(stage, steps)):
            await until(lambda: has(broker, f"{pipeline_name}.events.clean", 100))
        assert await committed(broker, f"{pipeline_name}.events.clean") == expected(100)
        assert steps == ([set(), "works", "works"] if ahead else [set(), "works", set(places(stage)), "works"])

    asyncio.run(run())


def test_a_slow_core_works_before_its_transaction_begins(broker: str, pipeline_name: str, steps: list[object]) -> None:
    """It might outlast the transaction: of each batch but the first, whose length nobody knows, nothing is expected."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, 1, max_batch=20)
        await produce(broker, f"{pipeline_name}.events.raw", values(0, 30))
        async with running(watched(stage, steps, 0.02)):
            await until(lambda: has(broker, f"{pipeline_name}.events.clean", 30))
        assert steps[0] == set()
        assert len(steps) > 2
        assert set(map(str, steps[1:])) == {"works"}

    asyncio.run(run())
