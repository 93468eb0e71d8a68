"""Owners of one lane at once, on the real broker: whoever started last has it, and nobody else commits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownError

from schemas.state import Checkpoint
from services.domain.records import Out
from services.runtime import checkpoints, clients, membership
from services.runtime.inputs import Inputs
from services.runtime.lane import Lane
from services.runtime.membership import LaneLostError, Membership
from services.runtime.readback import LogTruncatedError
from services.runtime.stage import Driver, Stage
from services.runtime.transactions import ExactlyOnce, FencedError
from tests.integration.copying import PARTITIONS, committed, expected, has, make_stage, produce, until, values

STEPS = ("first id", "second id", "checkpoint", "inputs")
"""What an owner's start consists of, in this order."""


class Start:
    """Holds up an owner's start after each of some steps, until it is let go."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._reached = {step: asyncio.Event() for step in steps}
        self._go = {step: asyncio.Event() for step in steps}

    async def reached(self, step: str, owner: asyncio.Task[None]) -> None:
        """Wait until the owner is held up there, or has ended."""
        here = asyncio.create_task(self._reached[step].wait())
        await asyncio.wait([here, owner], return_when=asyncio.FIRST_COMPLETED, timeout=30)
        here.cancel()
        assert self._reached[step].is_set() or owner.done()

    def go(self, step: str) -> None:
        self._go[step].set()

    async def done(self, step: str) -> None:
        if step in self._go:
            self._reached[step].set()
            await self._go[step].wait()


_STARTING: ContextVar[Start | None] = ContextVar("starting", default=None)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of a start tells the :class:`Start` of its task, if there is one, that it is done."""

    def told(owner: Any, name: str, step: Callable[[Any], str]) -> None:
        original = getattr(owner, name)

        async def telling(*args: Any, **more: Any) -> Any:
            result = await original(*args, **more)
            if (start := _STARTING.get()) is not None:
                await start.done(step(args[0]))
            return result

        monkeypatch.setattr(owner, name, telling)

    ids = {"0": "first id", "1": "second id"}
    told(AIOKafkaProducer, "start", lambda producer: ids[producer._txn_manager.transactional_id[-1]])
    told(checkpoints, "last", lambda _: "checkpoint")
    told(Inputs, "open", lambda _: "inputs")


def has_lost(ended: BaseException | None) -> bool:
    """Whether an owner was fenced, or ended as if it had crashed: its commit met the other's fencing inside the broker.

    The broker answers that, very rarely, with UNKNOWN_SERVER_ERROR: an outcome that nobody knows but who starts next.
    """
    return isinstance(ended, FencedError) or isinstance(getattr(ended, "__cause__", None), UnknownError)


class Contest:
    """Owners of lane 0 that copy what is produced one record at a time."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.target = f"{stage.pipeline}.events.clean"
        self.produced = 0
        self.owners: dict[asyncio.Task[None], Lane] = {}

    def start(self, held: Start | None = None) -> asyncio.Task[None]:
        _STARTING.set(held)
        lane = Lane(self.stage, 0)
        owner = asyncio.create_task(lane.run())
        _STARTING.set(None)
        self.owners[owner] = lane
        return owner

    async def one_more(self, *unless: asyncio.Task[None]) -> None:
        """Produce a record and wait until it is copied, unless these owners are all gone."""
        await produce(self.stage.settings.broker, f"{self.stage.pipeline}.events.raw", values(self.produced, 1))
        self.produced += 1

        async def copied() -> bool:
            gone = bool(unless) and all(owner.done() for owner in unless)
            return gone or await has(self.stage.settings.broker, self.target, self.produced)

        await until(copied)

    async def end(self) -> None:
        """Whoever is left stops, and one that starts now copies what nobody did: once, and in order."""
        results = await self._stop()
        assert all(result is None or has_lost(result) for result in results), results
        self.start()
        await self.one_more()
        assert await self._stop() == [None]
        assert await committed(self.stage.settings.broker, self.target) == expected(self.produced)

    async def _stop(self) -> list[Any]:
        for lane in self.owners.values():
            lane.stop()
        results = await asyncio.gather(*self.owners, return_exceptions=True)
        self.owners.clear()
        return results


@pytest.mark.usefixtures("steps")
def test_an_owner_held_up_anywhere_in_its_start_commits_nothing_twice(broker: str, pipeline_name: str) -> None:
    """Another owner starts and commits, an odd number of times or an even one, while the first waits after a step or two.

    Reading the checkpoint before both ids are fenced, or beginning with the second id, would copy a record twice here.
    """

    async def run() -> None:
        contest = Contest(await make_stage(broker, pipeline_name, PARTITIONS))
        for held_at in [*((step,) for step in STEPS), *combinations(STEPS, 2)]:
            for commits in (1, 2):
                await held_up(contest, held_at, commits)

    async def held_up(contest: Contest, held_at: Sequence[str], commits: int) -> None:
        start = Start(held_at)
        first = contest.start(start)
        await start.reached(held_at[0], first)
        second = contest.start()
        for _ in range(commits):
            await contest.one_more(second)
        for step in held_at[1:]:
            start.go(held_at[0])
            await start.reached(step, first)
            await contest.one_more(second)
        start.go(held_at[-1])
        await contest.one_more(first, second)
        await contest.end()

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


@pytest.mark.parametrize("ahead", [False, True])
def test_two_owners_never_both_commit(broker: str, pipeline_name: str, ahead: bool) -> None:
    """Two lanes of the same number, started at the same time over a backlog again and again, write each record once."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS, max_batch=50, ahead=ahead)
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
    assert all(result is None or has_lost(result) for result in results), results
    return sum(isinstance(result, FencedError) for result in results)


def test_a_lane_fenced_by_who_does_not_have_it_is_begun_once_more(
    broker: str, pipeline_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group gives it to this process, which goes on; fenced again, it does not fight for it, and says so."""
    monkeypatch.setattr(membership, "_FENCED_GRACE_S", 5.0)

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        source, target = f"{pipeline_name}.events.raw", f"{pipeline_name}.events.clean"
        task = asyncio.create_task(Membership(stage).run())
        for written in range(2):
            await produce(broker, source, values(written, 1))
            await until(lambda count=written + 1: has(broker, target, count), 15)
            await (await ExactlyOnce.open(stage.settings, stage.group, 0)).close()
        await produce(broker, source, values(2, 1))
        with pytest.raises(LaneLostError, match="lane copy/0 was fenced 5 s ago"):
            await asyncio.wait_for(task, 30)
        assert await committed(broker, target) == expected(2)

    asyncio.run(run())


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


@pytest.mark.usefixtures("steps")
def test_logs_that_another_owner_continues_during_a_restore_are_not_called_truncated(
    broker: str, pipeline_name: str
) -> None:
    """As the join does, opening compares the checkpoint with the stage's outputs: what differs is fatal if nobody wrote."""

    async def run() -> None:
        lenient = await make_stage(broker, pipeline_name, PARTITIONS)
        lost = False

        async def open_strictly(lane: int, checkpoint: Checkpoint | None) -> Driver:
            found = len(await committed(broker, contest.target))
            if lost or found != (checkpoint.totals["in"] if checkpoint else 0):
                raise LogTruncatedError(f"{found} records are there")
            return await lenient.open(lane, checkpoint)

        contest = Contest(replace(lenient, open=open_strictly))
        start = Start(("checkpoint",))
        first = contest.start(start)
        await start.reached("checkpoint", first)
        await contest.one_more(contest.start())
        start.go("checkpoint")
        with pytest.raises(FencedError, match="another owner went on"):
            await first
        await contest.end()
        lost = True
        with pytest.raises(LogTruncatedError):
            await contest.start()

    asyncio.run(run())
