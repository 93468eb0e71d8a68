"""A lane leaves the event loop to the others while its core works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from schemas.state import Checkpoint
from services.domain.records import Incoming, Out, Output, Standing
from services.runtime.lane import Lane
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage
from tests.unit.records import Rec

RECORD_S = 0.001
BATCH = [Rec("p.events.raw", 0, offset, 0, b"%d" % offset, b"v") for offset in range(60)]


class Slow:
    """Copies records by their keys, a millisecond each at least, and notes how many it was given at a time."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.given: list[int] = []

    def process(self, batch: Sequence[Incoming], now: int) -> Output:  # noqa: ARG002 - the protocol's
        self.given.append(len(batch))
        output = Output()
        for record in batch:
            time.sleep(RECORD_S)
            output.to("events.clean", 0).append(Out(record.key, b"", 0))
        return output

    def standing(self) -> Standing:
        return Standing()


async def never(lane: int, checkpoint: Checkpoint | None) -> Driver:
    raise AssertionError((lane, checkpoint))


def test_others_have_their_turn_within_a_batch() -> None:
    """Once it knows what a record takes, a lane works 5 ms at most between two turns of others; no record is lost by it."""
    stage = Stage(
        service="cleaning", name="turns", pipeline="p", partitions=1, counts={"p.events.raw": 1}, open=never,
        settings=Settings(data_dir=Path("unused")),
    )  # fmt: skip
    lane, core = Lane(stage, 0), Slow()
    turns: set[int] = set()

    async def other() -> None:
        while True:
            turns.add(len(core.given))
            await asyncio.sleep(0)

    async def run() -> Output:
        await lane._process(Driver(core), BATCH)
        assert core.given == [len(BATCH)]
        core.given.clear()
        task = asyncio.create_task(other())
        output = await lane._process(Driver(core), BATCH)
        task.cancel()
        return output

    output = asyncio.run(run())
    assert [out.key for out in output.to("events.clean", 0)] == [record.key for record in BATCH]
    assert sum(core.given) == len(BATCH)
    assert max(core.given) <= 0.005 / RECORD_S
    assert set(range(1, len(core.given))) <= turns
