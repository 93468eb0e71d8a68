"""The worker shell, as far as it needs no broker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faust.exceptions import ConsumerNotStarted

from schemas.state import Checkpoint
from services.runtime import worker
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage


async def never(lane: int, checkpoint: Checkpoint | None) -> Driver:
    raise AssertionError((lane, checkpoint))


def test_faust_subscribes_without_waiting_for_tables(tmp_path: Path) -> None:
    """Faust's table manager turns to its consumer, which a test without a broker has not started, and sleeps before never."""

    async def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    async def scenario() -> None:
        app = worker.make_app("scoring", "p", Settings(data_dir=tmp_path))
        app.tables.sleep = sleep
        with pytest.raises(ConsumerNotStarted):
            await app.tables.on_start()
        assert app.tables.log.logger.name.startswith("faust.")  # whose own lines are left out of a service's log

    asyncio.run(scenario())


class Loop(asyncio.SelectorEventLoop):
    """Notes how long it is asked to wait for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def call_later(self, delay: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        self.delays.append(delay)
        return super().call_later(delay, *rest, **more)


@pytest.mark.parametrize("left", [0, 2])
def test_a_service_that_has_stopped_sleeps_no_more(left: int, tmp_path: Path) -> None:
    """Tasks that a library has left running are ended at once; where there are none, nothing is waited for."""
    loop = Loop()
    asyncio.set_event_loop(loop)
    settings = Settings(data_dir=tmp_path)
    stage = Stage(
        service="cleaning", name="ended", pipeline="p", partitions=1, counts={"p.events.raw": 1}, open=never,
        settings=settings,
    )  # fmt: skip
    made = worker.Worker(worker.make_app("cleaning", "p", settings), [stage])
    tasks = [loop.create_task(asyncio.Event().wait()) for _ in range(left)]
    made._shutdown_loop()
    assert [task.cancelled() for task in tasks] == [True] * left
    assert loop.delays == []
    assert loop.is_closed()
