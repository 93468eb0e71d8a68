"""Health and readiness on the real broker: consumers that cease to fetch, transactions left open, a broker away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import REGISTRY

from services.cli.broker import Broker
from services.runtime import clients
from services.runtime.plane import DataPlane
from services.runtime.stage import Stage
from tests.integration.copying import committed, make_stage, produce, until

STALL_S = 1.5


@asynccontextmanager
async def serving(stage: Stage) -> AsyncIterator[DataPlane]:
    """The stage as a service runs it, all its lanes ready, with a stall limit short enough to wait for."""

    async def fail(error: BaseException) -> None:
        raise error

    plane = DataPlane([stage], fail, STALL_S)
    await plane.start()
    try:
        await until(lambda: says(plane, stalled=[], unready=""))
        yield plane
    finally:
        await plane.stop()


async def says(plane: DataPlane, *, stalled: list[str], unready: str) -> bool:
    """Whether exactly these lanes are stalled, and readiness gives one reason that has these words (none, if empty)."""
    reasons = plane.unready()
    return plane.stalled() == stalled and len(reasons) == bool(unready) and all(unready in it for it in reasons)


async def copied(broker: str, pipeline: str, count: int) -> bool:
    return len(await committed(broker, f"{pipeline}.events.clean")) >= count


def lag(topic: str) -> float | None:
    labels = {"stage": "copy", "lane": "0", "input": topic}
    return REGISTRY.get_sample_value("rivermill_lag_records", labels)


async def cease_to_fetch() -> None:
    """End aiokafka's fetching in this event loop, as an error inside it would: consumers find nothing from now on."""
    fetching = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__.startswith("Fetcher.")]
    assert fetching
    for task in fetching:
        task.cancel()
    await asyncio.wait(fetching)


def test_a_lane_that_has_silently_ceased_to_fetch_is_named(broker: str, pipeline_name: str) -> None:
    """A lane that had read everything when its consumer fell silent is stalled once a record lies ahead; no other is."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name)
        source = f"{pipeline_name}.events.raw"
        async with serving(stage) as plane:
            await produce(broker, source, [b"seen"])
            await until(lambda: copied(broker, pipeline_name, 1))
            await cease_to_fetch()
            await produce(broker, source, [b"unseen"])
            await until(lambda: says(plane, stalled=["copy/0"], unready=""))
            assert lag(source) == 1
        assert await committed(broker, f"{pipeline_name}.events.clean") == [b"0:seen"]

    asyncio.run(run())


def test_what_may_not_be_read_yet_is_no_lag(broker: str, pipeline_name: str) -> None:
    """Neither the records of an open transaction lie ahead of a lane, nor, once it has committed, its marker."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name)
        source = f"{pipeline_name}.events.raw"
        async with serving(stage) as plane:
            membership = plane._memberships[0]
            foreign = clients.transactional_producer(stage.settings, f"{pipeline_name}.foreign")
            await foreign.start()
            await foreign.begin_transaction()
            await foreign.send_and_wait(source, b"late", partition=0)

            async def answered_since(then: float) -> bool:
                return membership.answered_at > then

            for _ in range(2):  # the first answer may be to a question from before
                await until(lambda then=membership.answered_at: answered_since(then))
            assert membership.lanes[0].ends == {source: 0}
            await foreign.commit_transaction()
            await foreign.stop()

            async def nothing_ahead() -> bool:
                return membership.lanes[0].ends == {source: 2} and lag(source) == 0

            await until(nothing_ahead)
        assert await committed(broker, f"{pipeline_name}.events.clean") == [b"0:late"]

    asyncio.run(run())


def test_a_broker_that_is_away_stalls_the_lanes_with_lag_alone(tmp_path: Path) -> None:
    """While Kafka is away a stage that had read everything is healthy and unready; one with lag is stalled until after."""

    async def run(broker: Broker) -> None:
        stage = await make_stage(broker.address, "away", max_batch=1)
        async with serving(stage) as plane:
            broker.pause()
            await until(lambda: says(plane, stalled=[], unready="Kafka has not told"))
            broker.resume()
            await until(lambda: says(plane, stalled=[], unready=""))

            await produce(broker.address, "away.events.raw", [b"x"] * 2000)
            await until(lambda: copied(broker.address, "away", 1))
            broker.pause()
            await until(lambda: says(plane, stalled=["copy/0"], unready="Kafka has not told"))
            broker.resume()
            await until(lambda: says(plane, stalled=[], unready=""))
            behind = len(await committed(broker.address, "away.events.clean"))
            await until(lambda: copied(broker.address, "away", behind + 1))

    with Broker(tmp_path) as own:
        asyncio.run(run(own))
