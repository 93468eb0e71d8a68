"""Health and readiness of the data plane, by what its lanes say of themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from aiokafka import TopicPartition

from schemas.state import Checkpoint
from services.cli.loopback import free_port
from services.runtime import clients
from services.runtime.lane import Lane
from services.runtime.plane import DataPlane
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage
from services.runtime.worker import _pages, make_app


async def never(lane: int, checkpoint: Checkpoint | None) -> Driver:
    raise AssertionError((lane, checkpoint))


async def ignore(error: BaseException) -> None:
    raise error


def plane() -> tuple[DataPlane, Lane]:
    stage = Stage(
        service="cleaning", name="health", pipeline="p", partitions=1, counts={"p.events.raw": 1}, open=never,
        settings=Settings(data_dir=Path("unused")),
    )  # fmt: skip
    made = DataPlane([stage], ignore)
    lane = Lane(stage, 0)
    made._memberships[0].lanes[0] = lane
    return made, lane


def test_a_lane_that_has_not_moved_for_long_is_named() -> None:
    """A running lane with records to read that has stood still beyond the limit makes the service unhealthy."""
    made, lane = plane()
    lane.ready = True
    assert made.stalled() == []
    lane.moved_at -= 31
    assert made.stalled() == ["health/0"]


def test_a_lane_that_restores_is_unready_but_healthy() -> None:
    """A lane that restores or waits keeps the service unready, and says so, without making it unhealthy."""
    made, lane = plane()
    lane.moved_at -= 31
    assert made.stalled() == []
    assert any("health/0" in reason for reason in made.unready())


def test_a_stage_without_an_assignment_is_unready() -> None:
    """Until the group has assigned lanes, the service is not ready; with its lanes running, it is."""
    made, lane = plane()
    lane.ready = True
    assert made.unready() == ["health: no assignment yet"]
    made._memberships[0].assigned = True
    assert made.unready() == []


def test_an_assignment_makes_no_service_ready_before_its_lanes_run() -> None:
    """Assigned lanes that have not begun yet are waited for like those that restore."""

    async def scenario() -> tuple[list[str], list[str]]:
        made, lane = plane()
        membership, place = made._memberships[0], TopicPartition("p.events.raw", 0)
        membership.lanes.clear()
        membership._consumer = clients.reader(lane.stage.settings)
        membership._consumer.assign([place])
        membership.on_partitions_assigned([place])
        before = made.unready()
        membership._reconcile()
        membership._tasks[0].cancel()
        return before, made.unready()

    before, begun = asyncio.run(scenario())
    assert before == ["health: no assignment yet"]
    assert [reason.partition(":")[0] for reason in begun] == ["health/0"]


def test_the_pages_answer_503_when_it_is_not_well(tmp_path: Path) -> None:
    """/healthz and /readyz of a service are 200 while its lanes run, and name the lane that has stalled or is not there."""
    made, lane = plane()
    made._memberships[0].assigned = lane.ready = True
    port = free_port()
    app = make_app("cleaning", "p", Settings(data_dir=tmp_path, web_port=port))
    _pages(app, made)

    async def asked() -> list[tuple[int, Any]]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            return [(it.status_code, it.json()) for it in [await client.get("/healthz"), await client.get("/readyz")]]

    async def run() -> None:
        app.finalize()
        app.web.init_server()
        await app.web.start_server()
        healthy, ready = {"healthy": True, "stalled": []}, {"ready": True, "waiting": []}
        assert await asked() == [(200, healthy), (200, ready)]
        lane.moved_at -= 31
        assert await asked() == [(503, {"healthy": False, "stalled": ["health/0"]}), (200, ready)]
        lane.ready = False
        (reason,) = made.unready()
        waiting, _, _ = reason.rpartition(", for ")  # so many seconds, which go by
        well, (code, told) = await asked()
        assert (well, code, told["ready"]) == ((200, healthy), 503, False)
        assert [it.rpartition(", for ")[0] for it in told["waiting"]] == [waiting]
        await app.web.stop_server()

    asyncio.run(run())
