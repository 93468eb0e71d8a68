"""The smallest stage there is, for tests of the runtime: it copies records and numbers them by lane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from schemas.state import Checkpoint
from schemas.topics import Topic
from services.domain.records import Incoming, Out, Output, Standing
from services.runtime import clients, readback, topics
from services.runtime.membership import Membership
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage

PARTITIONS = 2


class Copy:
    """Each output value is ``<number in the lane>:<input value>``: a repeat or a gap would show."""

    def __init__(self, lane: int, totals: dict[str, int]) -> None:
        self.lane = lane
        self.totals = totals

    def process(self, batch: Sequence[Incoming], now: int) -> Output:  # noqa: ARG002 - the protocol's
        output = Output()
        copies = output.to("events.clean", self.lane)
        for record in batch:
            number = self.totals["in"]
            self.totals["in"] = number + 1
            copies.append(Out(record.key, b"%d:" % number + (record.value or b""), record.timestamp))
        return output

    def standing(self) -> Standing:
        return Standing()


async def make_stage(broker: str, pipeline: str, partitions: int = 2, **more: Any) -> Stage:
    """Topics made, and the stage over them; the event loop is told what the data plane tells its own."""
    asyncio.get_running_loop().set_exception_handler(clients.ignore_futures_of_failed_producers)
    settings = Settings(broker=broker, slot=more.pop("slot", None))
    table = [
        Topic(
            name=f"{pipeline}.{stream}", stream=stream, key="", partitions=partitions,
            config={"cleanup.policy": "compact"} if stream.startswith("state") else {}, contract=None,
            written_by=(), read_by=(),
        )
        for stream in ("events.raw", "events.clean", "state.cleaning")
    ]  # fmt: skip
    await topics.ensure(settings, table)

    async def open_lane(lane: int, checkpoint: Checkpoint | None) -> Driver:
        return Driver(Copy(lane, dict(checkpoint.totals) if checkpoint else {"in": 0}))

    return Stage(
        service="cleaning", name="copy", pipeline=pipeline, partitions=partitions,
        counts={f"{pipeline}.events.raw": partitions}, open=open_lane, settings=settings, **more,
    )  # fmt: skip


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Membership]:
    """The stage as one member of its group, until the block ends."""
    membership = Membership(stage)
    task = asyncio.create_task(membership.run())
    try:
        yield membership
    finally:
        membership.stop()
        await task


async def produce(broker: str, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
    """Send values to one partition and wait for them."""
    producer = clients.idempotent_producer(Settings(broker=broker))
    await producer.start()
    try:
        futures = [await producer.send(topic, value, partition=partition) for value in values]
        await asyncio.gather(*futures)
    finally:
        await producer.stop()


async def committed(broker: str, topic: str, partition: int = 0) -> list[bytes]:
    """Values that a read_committed reader sees now."""
    return [
        record.value
        async for batch in readback.everything(Settings(broker=broker), topic, partition)
        for record in batch
    ]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait for a condition; TimeoutError if it does not come true."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in Kafka
            await asyncio.sleep(0.05)


def expected(count: int, lane: int = 0) -> list[bytes]:
    return [b"%d:v%d-%d" % (number, lane, number) for number in range(count)]


def values(first: int, count: int, lane: int = 0) -> list[bytes]:
    return [b"v%d-%d" % (lane, number) for number in range(first, first + count)]


async def has(broker: str, topic: str, count: int, lane: int = 0) -> bool:
    return len(await committed(broker, topic, lane)) >= count
