"""What happens to the topics themselves: deleted, made anew with another shape, emptied before they were read."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from services.runtime import clients, readback
from services.runtime.membership import Membership
from services.runtime.readback import LogTruncatedError
from services.runtime.settings import Settings
from services.runtime.topics import TopicError
from tests.integration.copying import PARTITIONS, committed, has, make_stage, produce, running, until, values


@pytest.mark.parametrize("left", [0, 1])
def test_a_stage_whose_input_is_deleted_ends_and_says_so(broker: str, pipeline_name: str, left: int) -> None:
    """Gone altogether it is missed; back with fewer partitions, either that or the lane's lost position is seen first."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        source = f"{pipeline_name}.events.raw"
        membership = Membership(stage, look_every_s=0.2)
        work = asyncio.create_task(membership.run())
        await produce(broker, source, values(0, 10))
        await until(lambda: has(broker, f"{pipeline_name}.events.clean", 10))
        async with clients.admin(Settings(broker=broker)) as admin:
            await admin.delete_topics([source])
            if left:
                await admin.create_topics([NewTopic(source, left, 1)])
        with pytest.raises((TopicError, LogTruncatedError)) as told:
            await asyncio.wait_for(work, 60)
        missed = f"{source!r} had {PARTITIONS} partitions and has {left}: it was deleted"
        assert missed in str(told.value) or (left and "the topic was recreated" in str(told.value))
        assert "rivermill reset" in str(told.value)

    asyncio.run(run())


def test_records_that_were_deleted_before_they_were_read_are_told(broker: str, pipeline_name: str) -> None:
    """The lane does not go on behind the gap by itself: it names the offset at which it stopped and the log begins."""

    async def run() -> None:
        stage = await make_stage(broker, pipeline_name, PARTITIONS)
        source = f"{pipeline_name}.events.raw"
        await produce(broker, source, values(0, 10))
        async with running(stage):
            await until(lambda: has(broker, f"{pipeline_name}.events.clean", 10))
        await produce(broker, source, values(10, 20))
        async with clients.admin(Settings(broker=broker)) as admin:
            await admin.delete_records({TopicPartition(source, 0): RecordsToDelete(25)})
        with pytest.raises(LogTruncatedError, match=f"{source}/0 begins at offset 25, but the lane stopped at 10"):
            await Membership(stage).run()

    asyncio.run(run())


def test_what_retention_removes_while_a_log_is_read_is_not_missed(
    broker: str, pipeline_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is read from the log's beginning nobody needs the first record: a service would end for good over it."""
    asked = readback.bounds

    async def bounds(settings: Settings, topic: str, partition: int) -> tuple[int, int]:
        first, last = await asked(settings, topic, partition)
        async with clients.admin(settings) as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(first + 4)})
        return first, last

    async def run() -> None:
        await make_stage(broker, pipeline_name, PARTITIONS)
        source = f"{pipeline_name}.events.raw"
        await produce(broker, source, values(0, 10))
        monkeypatch.setattr(readback, "bounds", bounds)
        assert await committed(broker, source) == values(4, 6)
        assert await readback.last_keys(Settings(broker=broker), source, 0, 10) == []

    asyncio.run(run())
