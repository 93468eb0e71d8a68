"""What scoring had told before it was started again: from one process's checkpoints to the next one's alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from schemas.alerts import Alert
from schemas.state import Checkpoint
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryClient
from services.runtime.settings import Settings
from services.runtime.snapshots import SnapshotCache
from services.runtime.stage import Driver, Stage
from services.runtime.worker import Handler
from services.scoring.app import wire
from tests.unit.scoring.test_follower import KEY, OTHER, champion, parameters
from tests.unit.stream import spec


def wired(folder: Path) -> tuple[Stage, Handler, Handler]:
    """A process of scoring without a lane yet, and what it is told of ``models`` and ``parameters``."""
    deployment = Deployment(spec(), Settings(data_dir=folder, signing_key=KEY))
    (stage,), handlers = wire(deployment, {"flights.events.clean": 1})
    return stage, handlers["flights.models"], handlers["flights.parameters"]


async def started(folder: Path, checkpoint: Checkpoint | None) -> tuple[Driver, Handler, Handler]:
    """The same on one lane."""
    stage, models, parameters = wired(folder)
    return await stage.open(0, checkpoint), models, parameters


def checkpoint_of(driver: Driver) -> Checkpoint:
    standing = driver.standing()
    return Checkpoint("score", 0, {}, {}, None, {}, None, msgspec.Raw(standing.data))


async def told(driver: Driver, count: int = 1) -> list[Alert]:
    """The next alerts, so many of them at least."""
    alerts: list[Alert] = []
    while len(alerts) < count:
        if (output := await driver.idle(0, {})) is not None:
            alerts += [msgspec.json.decode(out.value or b"", type=Alert) for out in output.to("alerts", 0)]
        await asyncio.sleep(0.01)
    return alerts


def restarting(folder: Path, scenario: Callable[[SnapshotCache], Awaitable[None]]) -> None:
    async def run() -> None:
        client = RegistryClient("http://127.0.0.1:1", attempts=1)
        async with asyncio.timeout(20):
            await scenario(SnapshotCache(folder / "snapshots" / "flights", client))
        await client.close()

    asyncio.run(run())


def test_a_refused_version_ends_after_a_restart(tmp_path: Path) -> None:
    """Scoring that is started again resolves what it had told of a version, once its alias is served as asked."""

    async def scenario(cache: SnapshotCache) -> None:
        before, models, _ = await started(tmp_path, None)
        await models(await champion(cache, KEY), 0)
        await before.ready()
        await models(await champion(cache, OTHER, 2), 1)
        (opened,) = await told(before)
        assert opened.signal == "champion/2"
        after, models, _ = await started(tmp_path, checkpoint_of(before))
        await models(await champion(cache, KEY, 3), 2)
        (resolved,) = await told(after)
        assert (resolved.state, resolved.resolution) == ("resolved", "recovered")
        assert resolved.incident_id == opened.incident_id
        assert checkpoint_of(after).data == checkpoint_of((await started(tmp_path, None))[0]).data

    restarting(tmp_path, scenario)


def test_what_is_still_refused_after_a_restart_is_the_same_incident(tmp_path: Path) -> None:
    """Told once more under the same id; then another record's episode is one of its own, and all end with a good one."""

    async def scenario(cache: SnapshotCache) -> None:  # noqa: ARG001 - no snapshot is needed
        before, _, live = await started(tmp_path, None)
        await live(parameters(OTHER), 7)
        (opened,) = await told(before)
        same, _, live = await started(tmp_path, checkpoint_of(before))
        await live(parameters(OTHER), 7)
        assert [alert.alert_id for alert in await told(same)] == [opened.alert_id]
        other, _, live = await started(tmp_path, checkpoint_of(same))
        await live(parameters(OTHER), 9)
        (another,) = await told(other)
        await live(parameters(KEY), 10)
        resolved = await told(other)
        assert {alert.incident_id for alert in resolved} == {opened.incident_id, another.incident_id}
        assert {alert.state for alert in resolved} == {"resolved"}

    restarting(tmp_path, scenario)


def test_what_is_read_again_before_what_was_refused_ends_nothing(tmp_path: Path) -> None:
    """Control topics are read from their start: only what came after a refused record, or decision, ends its incident."""

    async def scenario(cache: SnapshotCache) -> None:
        good, bad = await champion(cache, KEY), await champion(cache, OTHER, 2)
        before, models, live = await started(tmp_path, None)
        for offset, decision in enumerate((good, bad, b"{"), 4):
            await models(decision, offset)
        await live(parameters(OTHER), 7)
        opened = await told(before, 3)
        assert {alert.signal for alert in opened} == {"champion/2", "models", "parameters"}

        after, models, live = await started(tmp_path, checkpoint_of(before))
        await models(good, 4)
        await live(parameters(KEY), 3)
        await after.ready()
        assert await after.idle(0, {}) is None
        assert checkpoint_of(after).data == checkpoint_of(before).data
        await live(parameters(KEY, 120), 8)
        await models(await champion(cache, KEY, 3), 9)
        ended = await told(after, 3)
        assert {alert.state for alert in ended} == {"resolved"}
        assert {alert.incident_id for alert in ended} == {alert.incident_id for alert in opened}

    restarting(tmp_path, scenario)


def test_what_was_good_again_before_a_lane_was_there_is_over(tmp_path: Path) -> None:
    """Where the control topics are read before a lane tells what had been refused, that is over at once."""

    async def scenario(cache: SnapshotCache) -> None:
        before, models, live = await started(tmp_path, None)
        await models(b"{", 5)
        await live(parameters(OTHER), 7)
        opened = await told(before, 2)
        stage, models, live = wired(tmp_path)
        await models(await champion(cache, KEY), 6)
        await live(parameters(KEY), 8)
        after = await stage.open(0, checkpoint_of(before))
        resolved = await told(after, 2)
        assert {(alert.incident_id, alert.state) for alert in resolved} == {
            (alert.incident_id, "resolved") for alert in opened
        }
        assert checkpoint_of(after).data == checkpoint_of((await started(tmp_path, None))[0]).data

    restarting(tmp_path, scenario)


def test_an_alert_whose_commit_failed_is_told_by_another_lane(tmp_path: Path) -> None:
    """Only once it is committed it is told, and then not again; a lane that ends before leaves it to the next."""

    async def scenario(cache: SnapshotCache) -> None:  # noqa: ARG001 - no snapshot is needed
        stage, models, _ = wired(tmp_path)
        failing, other = await stage.open(0, None), await stage.open(1, None)
        await models(b"{", 5)
        lost = await told(failing)
        failing.committed({})  # of the batch before, which was under way
        failing.standing()
        assert await other.idle(0, {}) is None, "it is about to be sent"
        await failing.close()
        assert await told(other) == lost
        other.standing()
        other.committed({})
        await other.close()
        assert await (await stage.open(0, None)).idle(0, {}) is None

    restarting(tmp_path, scenario)


def test_an_end_that_nobody_was_told_stays_in_the_checkpoints(tmp_path: Path) -> None:
    """A process killed between a batch's commit and the alert's leaves the incident to whoever has the lane next."""

    async def scenario(cache: SnapshotCache) -> None:
        before, models, _ = await started(tmp_path, None)
        await models(b"{", 5)
        (opened,) = await told(before)
        standing = checkpoint_of(before).data
        before.committed({})
        decision = await champion(cache, KEY)
        await models(decision, 6)
        batch = checkpoint_of(before)
        assert batch.data == standing
        after, models, _ = await started(tmp_path, batch)
        await models(decision, 6)
        (resolved,) = await told(after)
        assert (resolved.incident_id, resolved.state) == (opened.incident_id, "resolved")

    restarting(tmp_path, scenario)
