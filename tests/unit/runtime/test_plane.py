"""Health and readiness of the data plane, by what its lanes say of themselves."""

from __future__ import annotations

from pathlib import Path

from schemas.state import Checkpoint
from services.runtime.lane import Lane
from services.runtime.plane import DataPlane
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage


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
