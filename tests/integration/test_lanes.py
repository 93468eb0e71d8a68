"""Lanes on the real broker: exactly once, fencing, restores, rebalances."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from aiokafka import AIOKafkaProducer

from services.domain.records import Out
from services.runtime import checkpoints, clients, readback
from services.runtime.lane import Lane
from services.runtime.settings import Settings
from services.runtime.stage import Stage
from services.runtime.transactions import ExactlyOnce, FencedError
from tests.integration.copying import committed, make_stage, produce, running, until

PARTITIONS = 2


def expected(count: int, lane: int = 0) -> list[bytes]:
    return [b"%d:v%d-%d" % (number, lane, number) for number in range(count)]


def values(first: int, count: int, lane: int = 0) -> list[bytes]:
    return [b"v%d-%d" % (lane, number) for number in range(first, first + count)]


async def has(broker: str, topic: str, count: int, lane: int = 0) -> bool:
    return len(await committed(broker, topic, lane)) >= count


def test_every_record_is_copied_once_and_in_order(broker: str, pipeline_name: str) -> None:
    """A stage stopped and started again goes on where it was: no record is lost, repeated or out of order."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        for round_ in range(2):
            for lane in range(PARTITIONS):
                await produce(broker, source, values(round_ * 700, 700, lane), lane)
            async with running(stage):
                for lane in range(PARTITIONS):
                    await until(lambda lane=lane, count=(round_ + 1) * 700: has(broker, target, count, lane))
        for lane in range(PARTITIONS):
            assert await committed(broker, target, lane) == expected(1400, lane)

    asyncio.run(run())


def test_a_transaction_aborted_half_way_is_invisible(broker: str, pipeline_name: str) -> None:
    """What an owner had sent before it died is neither read nor counted by the next owner."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        await produce(broker, source, values(0, 10))
        half = clients.transactional_producer(stage.settings, f"{stage.group}-0-0")
        await half.start()
        await half.begin_transaction()
        await half.send_and_wait(target, b"half-way", partition=0)
        async with running(stage):
            await until(lambda: has(broker, target, 10))
        assert await committed(broker, target) == expected(10)
        await asyncio.gather(half.stop(), return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("first", [0, 1])
def test_a_second_owner_fences_the_first(broker: str, pipeline_name: str, first: int) -> None:
    """Once another owner has opened the lane, the old one can commit with neither of its two ids."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        target = f"{pipeline_name}.events.clean"
        old = await ExactlyOnce.open(stage.settings, stage.group, 0)
        for number in range(first):
            await old.publish({(target, 0): [Out(None, b"old %d" % number, 0)]}, {})
        new = await ExactlyOnce.open(stage.settings, stage.group, 0)
        with pytest.raises(FencedError):
            await old.publish({(target, 0): [Out(None, b"zombie", 0)]}, {})
        await new.publish({(target, 0): [Out(None, b"new", 0)]}, {})
        assert await committed(broker, target) == [*[b"old 0"][:first], b"new"]
        await old.close()
        await new.close()

    asyncio.run(run())


def test_two_owners_never_both_commit(broker: str, pipeline_name: str) -> None:
    """Two lanes of the same number, started at the same time over a backlog again and again, write each record once."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS, max_batch=50)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        fenced = 0
        for written in (500, 1000, 1500, 2000):
            await produce(broker, source, values(written - 500, 500))
            while not await has(broker, target, written):
                fenced += await contested(stage, lambda count=written: has(broker, target, count))
        assert fenced > 0
        assert await committed(broker, target) == expected(2000)

    asyncio.run(run())


async def contested(stage: Stage, done: Callable[[], Awaitable[bool]]) -> int:
    """Run two owners of lane 0 until ``done``, or until each has fenced the other; how many were fenced.

    Started at once, one may have opened the first transactional id last, and the other the second: then nobody is left.
    """
    lanes = [Lane(stage, 0), Lane(stage, 0)]
    tasks = [asyncio.create_task(lane.run()) for lane in lanes]

    async def over() -> bool:
        return all(task.done() for task in tasks) or await done()

    await until(over)
    for lane in lanes:
        lane.stop()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} <= {FencedError, type(None)}, results
    return sum(isinstance(result, FencedError) for result in results)


@pytest.mark.parametrize(("order", "commits"), [("AABB", 3), ("ABAB", 3), ("ABBA", 1)])
def test_of_owners_that_open_in_turns_only_one_commits(
    broker: str, pipeline_name: str, order: str, commits: int
) -> None:
    """However two owners' opening of the two ids interleaves, only the one that opened the first id last commits."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        target = f"{pipeline_name}.events.clean"
        producers: dict[str, list[AIOKafkaProducer]] = {"A": [], "B": []}
        for owner in order:
            index = len(producers[owner])
            producers[owner].append(clients.transactional_producer(stage.settings, f"{stage.group}-0-{index}"))
            await producers[owner][index].start()
        await asyncio.gather(*(publish_until_fenced(owner, *ids) for owner, ids in producers.items()))
        assert await committed(broker, target) == [b"B%d" % number for number in range(commits)]

    async def publish_until_fenced(name: str, first: AIOKafkaProducer, second: AIOKafkaProducer) -> None:
        owner = ExactlyOnce((first, second), f"{pipeline_name}.cleaning.copy")
        with suppress(FencedError):
            for number in range(3):
                value = f"{name}{number}".encode()
                await owner.publish({(f"{pipeline_name}.events.clean", 0): [Out(None, value, 0)]}, {})
        await owner.close()

    asyncio.run(run())


def test_a_hidden_checkpoint_is_waited_for(broker: str, pipeline_name: str) -> None:
    """A committed checkpoint behind another producer's open transaction is found, once that transaction has ended."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        settings, state = Settings(broker=broker), stage.state_topic
        foreign = clients.transactional_producer(settings, f"{pipeline_name}.other")
        await foreign.start()
        await foreign.begin_transaction()
        await foreign.send_and_wait(state, b"null", key=b"other/0", partition=0)
        owner = await ExactlyOnce.open(settings, stage.group, 0)
        value = {"stage": "copy", "lane": 0, "inputs": {}, "low_water": {}, "watermark": None, "totals": {"in": 7}}
        text = json.dumps({**value, "snapshot": None, "data": None}).encode()
        await owner.publish({(state, 0): [Out(stage.checkpoint_key(0), text, 0)]}, {})
        search = asyncio.create_task(checkpoints.last(settings, state, 0, stage.checkpoint_key(0)))
        done, _ = await asyncio.wait([search], timeout=1.0)
        assert not done
        await foreign.commit_transaction()
        found = await search
        assert found is not None
        assert found.totals == {"in": 7}
        await foreign.stop()
        await owner.close()

    asyncio.run(run())


def test_the_newest_record_of_a_key_is_found_far_back(broker: str, pipeline_name: str) -> None:
    """Of a key's committed records the last one is found behind thousands of others; an open transaction delays nothing."""

    async def run() -> None:
        await make_stage(broker, pipeline_name, PARTITIONS)
        settings, topic = Settings(broker=broker), f"{pipeline_name}.events.raw"
        foreign = clients.transactional_producer(settings, f"{pipeline_name}.other")
        await foreign.start()
        for value in (b"first", b"second"):
            async with foreign.transaction():
                await foreign.send_and_wait(topic, value, key=b"train/0", partition=0)
        await produce(broker, topic, [b"another"] * 6_000)
        await foreign.begin_transaction()
        await foreign.send_and_wait(topic, b"open", key=b"train/0", partition=0)
        found = await readback.newest(settings, topic, 0, b"train/0")
        assert found is not None
        assert found.value == b"second"
        assert await readback.newest(settings, topic, 0, b"train/1") is None
        assert await readback.newest(settings, topic, 1, b"train/0") is None
        await foreign.abort_transaction()
        await foreign.stop()

    asyncio.run(run())


def test_lanes_move_to_a_new_member_and_back(broker: str, pipeline_name: str) -> None:
    """A second member takes its share while records flow, gives it back on leaving, and nothing is lost or repeated."""

    async def run() -> None:
        first = await make_stage(broker, pipeline_name, PARTITIONS)
        second = await make_stage(broker, pipeline_name, PARTITIONS)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        sent, enough = 0, False

        async def feed() -> None:
            nonlocal sent
            while not enough:  # aiokafka may swallow a cancellation
                for lane in range(PARTITIONS):
                    await produce(broker, source, values(sent, 20, lane), lane)
                sent += 20
                await asyncio.sleep(0.02)

        async with running(first) as one:
            await until(lambda: _ready(one.lanes, 2))
            feeding = asyncio.create_task(feed())
            async with running(second) as two:
                await until(lambda: _ready(two.lanes, 1))
                await until(lambda: _ready(one.lanes, 1))
            await until(lambda: _ready(one.lanes, 2))
            enough = True
            await feeding
            await produce(broker, source, [b"end"], 0)
            await produce(broker, source, [b"end"], 1)
            for lane in range(PARTITIONS):
                await until(lambda lane=lane: _ended(broker, target, lane))
        for lane in range(PARTITIONS):
            copies = await committed(broker, target, lane)
            assert [int(copy.split(b":")[0]) for copy in copies] == list(range(len(copies)))
            originals = await committed(broker, source, lane)
            assert [copy.split(b":", 1)[1] for copy in copies] == originals

    async def _ready(lanes: dict[int, Lane], count: int) -> bool:
        return len(lanes) == count and all(lane.ready for lane in lanes.values())

    async def _ended(broker: str, topic: str, lane: int) -> bool:
        copies = await committed(broker, topic, lane)
        return bool(copies) and copies[-1].endswith(b":end")

    asyncio.run(run())
