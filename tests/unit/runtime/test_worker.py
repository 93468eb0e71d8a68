"""The worker shell, as far as it needs no broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from faust.exceptions import ConsumerNotStarted

from services.runtime import worker
from services.runtime.settings import Settings


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
