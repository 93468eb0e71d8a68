"""What scoring has to tell is told, whatever becomes of the lane that was about it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from schemas.alerts import Alert
from services.runtime import clients
from services.runtime.lane import Lane
from services.runtime.registry_client import RegistryClient
from services.runtime.snapshots import SnapshotCache
from services.runtime.transactions import ExactlyOnce, FencedError
from services.scoring.app import wire
from tests.integration.pipelines import KEY, deployed, file, records, until
from tests.unit.scoring.test_follower import champion


def test_an_alert_that_a_fenced_lane_could_not_commit_is_told(broker: str, pipeline_name: str, tmp_path: Path) -> None:
    """Its transaction is aborted with the lane; the next lane of the process tells it, once."""

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(clients.ignore_futures_of_failed_producers)
        deployment = deployed(tmp_path / "pipeline.toml", file(pipeline_name), broker)
        (stage,), handlers = wire(deployment, await deployment.ensure_topics())
        models = handlers[deployment.topic("models")]

        async def alerts() -> list[Alert]:
            found = await records(deployment, deployment.topic("alerts"))
            return [msgspec.json.decode(record.value, type=Alert) for record in found]

        async def told() -> bool:
            return bool(await alerts())

        async def ready() -> bool:
            return lane.ready

        client = RegistryClient("http://127.0.0.1:1", attempts=1)
        cache = SnapshotCache(deployment.settings.folder("snapshots", pipeline_name), client)
        await models(await champion(cache, KEY.encode(), name=pipeline_name), 0)
        lane = Lane(stage, 0)
        running = asyncio.create_task(lane.run())
        await until(ready, "the lane works")
        owner = await ExactlyOnce.open(stage.settings, stage.group, 0)
        await models(b"{", 1)
        with pytest.raises(FencedError):
            await running
        await owner.close()
        assert not await alerts()
        lane = Lane(stage, 0)
        running = asyncio.create_task(lane.run())
        await until(told, "the alert")
        lane.stop()
        await running
        (opened,) = await alerts()
        assert (opened.state, opened.signal) == ("opened", "models")
        await client.close()

    asyncio.run(run())
