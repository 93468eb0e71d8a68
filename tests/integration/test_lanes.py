"""Lanes on the real broker: exactly once, fencing, restores, rebalances."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import TopicPartition

from schemas.state import Checkpoint
from services.domain.records import Incoming, Out, Output, Standing
from services.runtime import checkpoints, clients, readback
from services.runtime.lane import Lane
from services.runtime.membership import Membership
from services.runtime.settings import Settings
from services.runtime.stage import Driver
from services.runtime.transactions import ExactlyOnce, Place
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
)  # fmt: skip


@pytest.mark.parametrize("ahead", [False, True])
def test_every_record_is_copied_once_and_in_order(broker: str, pipeline_name: str, ahead: bool) -> None:
    """A stage stopped and started again goes on where it was: no record is lost, repeated or out of order."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS, ahead=ahead, max_batch=100)
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


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stage_works_ahead_by_one_batch_if_it_may(broker: str, pipeline_name: str, ahead: bool) -> None:
    """While a batch is committed the core works on the next one, never on the one after it; or it waits."""
    steps: list[str] = []

    class Watched(Driver):
        def process(self, batch: Sequence[Incoming], now: int) -> Output:
            steps.append("works")
            return super().process(batch, now)

        def standing(self) -> Standing:
            steps.append("begins")
            return super().standing()

        def committed(self, ends: Mapping[Place, int]) -> None:
            steps.append("ends")
            super().committed(ends)

    async def open_lane(lane: int, checkpoint: Checkpoint | None) -> Driver:
        assert checkpoint is None
        return Watched(Copy(lane, {"in": 0}))

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS, ahead=ahead, max_batch=50)
        await produce(broker, f"{pipeline_name}.events.raw", values(0, 1000))
        async with running(replace(stage, open=open_lane)):
            await until(lambda: has(broker, f"{pipeline_name}.events.clean", 1000))

    asyncio.run(run())
    commits = [step for step in steps if step != "works"]
    assert commits == ["begins", "ends"] * (len(commits) // 2)
    assert len(commits) >= 2 * 20
    during = re.findall("begins(.*?)ends", "".join(steps))
    assert ("works" in during) is ahead
    assert set(during) <= {"", "works"}


def test_what_comes_while_a_lane_commits_is_one_batch(broker: str, pipeline_name: str) -> None:
    """A lane that has caught up does not fetch ahead: that would bring the first record alone, and the others a turn later."""
    sizes: list[int] = []
    resting, going_on = asyncio.Event(), asyncio.Event()

    class Held(Driver):
        def process(self, batch: Sequence[Incoming], now: int) -> Output:
            sizes.append(len(batch))
            return super().process(batch, now)

        async def idle(self, now: int, positions: Mapping[str, int]) -> Output | None:
            if sizes:
                resting.set()
                await going_on.wait()
            return await super().idle(now, positions)

    async def open_lane(lane: int, checkpoint: Checkpoint | None) -> Driver:
        assert checkpoint is None
        return Held(Copy(lane, {"in": 0}))

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, 1)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        async with running(replace(stage, open=open_lane)):
            await produce(broker, source, values(0, 1))
            await resting.wait()
            for number in range(1, 6):
                await produce(broker, source, values(number, 1))
            going_on.set()
            await until(lambda: has(broker, target, 6))
        assert await committed(broker, target) == expected(6)

    asyncio.run(run())
    assert sizes == [1, 5]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_lane_that_has_caught_up_rests_as_long_as_its_commit_took(
    broker: str, pipeline_name: str, ahead: bool
) -> None:
    """Up to a tenth of a second, also a stage that may work ahead."""
    begun: list[float] = []
    took: list[tuple[float, float]] = []

    class Timed(Driver):
        def process(self, batch: Sequence[Incoming], now: int) -> Output:
            begun.append(time.monotonic())
            return super().process(batch, now)

        def standing(self) -> Standing:
            took.append((time.monotonic(), 0.0))
            return super().standing()

        def committed(self, ends: Mapping[Place, int]) -> None:  # noqa: ARG002 - the protocol's
            if len(took) == 5:
                time.sleep(1.0)  # a very long commit
            took[-1] = took[-1][0], time.monotonic()

    async def open_lane(lane: int, checkpoint: Checkpoint | None) -> Driver:
        assert checkpoint is None
        return Timed(Copy(lane, {"in": 0}))

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, 1, ahead=ahead)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        async with running(replace(stage, open=open_lane)), AIOKafkaProducer(bootstrap_servers=broker) as producer:
            for value in values(0, 200):
                await producer.send_and_wait(source, value, partition=0)
                await asyncio.sleep(0.002)
            await until(lambda: has(broker, target, 200))

    asyncio.run(run())
    rests = [after - ended for after, (_, ended) in zip(begun[1:], took, strict=False)]
    wanted = [min(ended - began, 0.1) for began, ended in took]
    assert all(rest > least - 0.002 for rest, least in zip(rests, wanted, strict=False)), (rests, wanted)
    assert len(begun) > 5
    assert rests[4] < 1.0, "a tenth of a second at most, however long a commit takes"


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stage_told_to_stop_commits_the_batch_in_flight(broker: str, pipeline_name: str, ahead: bool) -> None:
    """All that its core has worked on is committed, within ten seconds: nothing is thrown away to be done again."""
    worked: list[int] = []
    members: list[Membership] = []

    class Stopping(Driver):
        def process(self, batch: Sequence[Incoming], now: int) -> Output:
            worked.append(len(batch))
            if len(worked) == 3:
                members[0].stop()
            return super().process(batch, now)

    async def open_lane(lane: int, checkpoint: Checkpoint | None) -> Driver:
        assert checkpoint is None
        return Stopping(Copy(lane, {"in": 0}))

    async def told() -> bool:
        return len(worked) >= 3

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS, ahead=ahead, max_batch=50)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        await produce(broker, source, values(0, 2_000))
        async with asyncio.timeout(60) as stopping, running(replace(stage, open=open_lane)) as member:
            members.append(member)
            await until(told)
            stopping.reschedule(asyncio.get_running_loop().time() + 10)
        assert sum(worked) < 2_000, "it was told to stop in the middle"
        assert await committed(broker, target) == expected(sum(worked))

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


@pytest.mark.parametrize(("aborted", "idles"), [(False, True), (True, True), (True, False)])
def test_a_log_emptied_behind_its_last_record_is_gone_on_with(
    broker: str, pipeline_name: str, monkeypatch: pytest.MonkeyPatch, aborted: bool, idles: bool
) -> None:
    """What retention has left of a log that was read to its end, markers and aborted records included, is not missed.

    The last batch is as large as one may be: it was fetched without the marker behind it. A lane that is stopped says what
    it has read past without having idled first.
    """
    if not idles:
        monkeypatch.setattr("services.runtime.lane._PASSED_CHECKPOINT_S", math.inf)

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS, max_batch=10)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        producer = clients.transactional_producer(stage.settings, f"{pipeline_name}.before")
        await producer.start()
        await producer.begin_transaction()
        for value in values(0, 10):
            await producer.send(source, value, partition=0)
        await producer.commit_transaction()

        async def passed() -> bool:
            end = (await readback.bounds(stage.settings, source, 0))[1]
            if not idles:
                return membership.lanes[0]._reached == end
            found = await checkpoints.last(stage.settings, stage.state_topic, 0, stage.checkpoint_key(0))
            return found is not None and found.inputs[source] == end

        async with running(stage) as membership:
            await until(lambda: has(broker, target, 10))
            if aborted:
                await until(passed)
                await producer.begin_transaction()
                await producer.send_and_wait(source, b"never", partition=0)
                await producer.abort_transaction()
            await until(passed)
        await producer.stop()
        end = (await readback.bounds(stage.settings, source, 0))[1]
        async with clients.admin(stage.settings) as admin:
            await admin.delete_records({TopicPartition(source, 0): RecordsToDelete(end)})
        await produce(broker, source, values(10, 1))
        async with running(stage):
            await until(lambda: has(broker, target, 11))
        assert await committed(broker, target) == expected(11)

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

        async def newest(key: bytes, partition: int = 0) -> bytes | None:
            found = await readback.newest(settings, topic, partition, lambda record: bool(record.key == key))
            return found and found.value

        foreign = clients.transactional_producer(settings, f"{pipeline_name}.other")
        await foreign.start()
        for value in (b"first", b"second"):
            async with foreign.transaction():
                await foreign.send_and_wait(topic, value, key=b"train/0", partition=0)
        await produce(broker, topic, [b"another"] * 6_000)
        await foreign.begin_transaction()
        await foreign.send_and_wait(topic, b"open", key=b"train/0", partition=0)
        assert await newest(b"train/0") == b"second"
        assert await newest(b"train/1") is None
        assert await newest(b"train/0", 1) is None
        await foreign.abort_transaction()
        await foreign.stop()

    asyncio.run(run())


def test_lanes_move_to_a_new_member_and_back(broker: str, pipeline_name: str) -> None:
    """A second member takes its share while records flow, gives it back on leaving, and nothing is lost or repeated.

    The lane that stays with the first member is one and the same all the time.
    """

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
            begun = dict(one.lanes)
            feeding = asyncio.create_task(feed())
            async with running(second) as two:
                await until(lambda: _ready(two.lanes, 1))
                await until(lambda: _ready(one.lanes, 1))
                ((stays, lane),) = one.lanes.items()
                assert lane is begun[stays]
            await until(lambda: _ready(one.lanes, 2))
            assert one.lanes[stays] is lane
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
