"""Following a topic as a person does, on the real broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from services.cli import follow
from services.runtime.settings import Settings
from tests.integration.copying import make_stage


def test_a_cancellation_that_the_library_swallows_ends_it(
    broker: str, pipeline_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a fetch may that is over just when Ctrl-C comes: ``tail`` went on for ever."""
    fetching = asyncio.Event()
    fetch = AIOKafkaConsumer.getmany

    async def swallowing(*args: Any, **more: Any) -> Any:
        fetching.set()
        try:
            return await fetch(*args, **more)
        except asyncio.CancelledError:
            return {}

    async def all_there_is(topic: str) -> None:
        async for _ in follow.records(Settings(broker=broker), topic):
            pass

    async def run() -> None:
        await make_stage(broker, pipeline_name)
        monkeypatch.setattr(AIOKafkaConsumer, "getmany", swallowing)
        task = asyncio.create_task(all_there_is(f"{pipeline_name}.events.raw"))
        await fetching.wait()
        task.cancel()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()

    asyncio.run(run())
