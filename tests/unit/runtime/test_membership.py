"""Which lanes a member begins once more, and what it warms up: without a group, which others test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka import TopicPartition

from schemas.state import Checkpoint
from services.runtime import clients
from services.runtime.membership import Membership
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage

PLACE = TopicPartition("p.events.raw", 0)


async def never(lane: int, checkpoint: Checkpoint | None) -> Driver:
    raise AssertionError((lane, checkpoint))


def member(warm: Callable[[], None] | None = None) -> Membership:
    stage = Stage(
        service="cleaning", name="copy", pipeline="p", partitions=1, counts={"p.events.raw": 1}, open=never,
        settings=Settings(data_dir=Path("unused")), warm=warm,
    )  # fmt: skip
    made = Membership(stage)
    made._consumer = clients.reader(stage.settings)
    made._consumer.assign([PLACE])
    return made


def is_taken_back(of: Membership, fenced_s: float) -> bool:
    """Whether lane 0, fenced so many seconds ago, may begin."""
    of._fenced_at[0] = time.monotonic() - fenced_s
    of._take_back()
    return 0 not in of._fenced_at


def test_a_fenced_lane_is_taken_back_when_its_other_owner_must_have_heard() -> None:
    """After two heartbeats; not while an assignment is on its way, nor twice in a minute."""

    async def run() -> None:
        it = member()
        assert not is_taken_back(it, 60), "nothing has been assigned"
        it.on_partitions_assigned([PLACE])
        assert not is_taken_back(it, 2.9)
        it.on_partitions_revoked([PLACE])
        assert not is_taken_back(it, 4)
        it.on_partitions_assigned([PLACE])
        assert is_taken_back(it, 3.1)
        assert not is_taken_back(it, 4), "two owners must not fence each other for ever"
        it._taken_back[0] -= 61
        assert is_taken_back(it, 4)

    asyncio.run(run())


def test_a_member_without_lanes_warms_up_for_those_that_may_come() -> None:
    """Once, in a thread, and not before it knows that it has none."""
    warmed: list[threading.Thread] = []

    async def run() -> None:
        it = member(lambda: warmed.append(threading.current_thread()))
        it._reconcile()
        assert it._warming is None
        it.on_partitions_assigned([])
        it._reconcile()
        assert it._warming is not None
        await it._warming
        it._reconcile()
        await it._warming

    asyncio.run(run())
    (thread,) = warmed
    assert thread is not threading.main_thread()


def test_lanes_come_before_what_others_may_need_later() -> None:
    """What warms up takes the interpreter's time from lanes that restore."""

    async def run() -> None:
        it = member(lambda: None)
        it.on_partitions_assigned([PLACE])
        it._reconcile()
        assert it._warming is None
        it.lanes[0].ready = True
        it._reconcile()
        assert it._warming is not None
        await it._warming
        it._tasks[0].cancel()

    asyncio.run(run())
