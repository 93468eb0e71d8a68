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
from services.runtime.stage import Driver
from services.runtime.worker import Handler
from services.scoring.app import wire
from tests.unit.scoring.test_follower import KEY, OTHER, champion, parameters
from tests.unit.stream import spec


async def started(folder: Path, checkpoint: Checkpoint | None) -> tuple[Driver, Handler, Handler]:
    """A process of scoring on one lane, and what it is told of ``models`` and ``parameters``."""
    deployment = Deployment(spec(), Settings(data_dir=folder, signing_key=KEY))
    (stage,), handlers = wire(deployment, {"flights.events.clean": 1})
    driver = await stage.open(0, checkpoint)
    return driver, handlers["flights.models"], handlers["flights.parameters"]


def checkpoint_of(driver: Driver) -> Checkpoint:
    standing = driver.standing()
    return Checkpoint("score", 0, {}, {}, None, {}, None, msgspec.Raw(standing.data))


async def told(driver: Driver) -> list[Alert]:
    while (output := await driver.idle(0, {})) is None:  # noqa: ASYNC110 - it happens in the follower
        await asyncio.sleep(0.01)
    return [msgspec.json.decode(out.value or b"", type=Alert) for out in output.to("alerts", 0)]


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
