"""The broker itself dies while lanes work: what was acknowledged stays, what was not is done again, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.cli.broker import Broker
from services.runtime.membership import Membership
from services.runtime.stage import Stage
from tests.integration.copying import committed, make_stage, produce, until

RECORDS = 1_500
KILL_AT = 300
RAW, CLEAN = "killed.events.raw", "killed.events.clean"


async def supervised(stage: Stage, members: list[Membership], enough: asyncio.Event) -> None:
    """Run a member of the group, and like a supervisor start another whenever one ends with an error, until enough."""
    while not enough.is_set():
        members.append(Membership(stage))
        try:
            await members[-1].run()
        except Exception:  # noqa: BLE001 - whatever it is ends a service's process, which is then started again
            await asyncio.sleep(0.5)
        else:
            return


def test_lanes_outlive_the_death_of_their_broker(tmp_path: Path) -> None:
    """A lane whose broker is killed with -9 in the middle of its work copies each record once, in order, when it is back."""

    async def run(broker: Broker) -> None:
        stage = await make_stage(broker.address, "killed", partitions=1, max_batch=20, ahead=True)
        await produce(broker.address, RAW, [b"%d" % number for number in range(RECORDS)])
        members: list[Membership] = []
        enough = asyncio.Event()
        working = asyncio.create_task(supervised(stage, members, enough))

        async def copied(least: int) -> bool:
            return len(await committed(broker.address, CLEAN)) >= least

        await until(lambda: copied(KILL_AT))
        broker.kill()
        await asyncio.to_thread(broker.start)
        await until(lambda: copied(RECORDS), 90)
        enough.set()
        members[-1].stop()
        await working
        assert await committed(broker.address, CLEAN) == [b"%d:%d" % (number, number) for number in range(RECORDS)]

    with Broker(tmp_path) as broker:
        asyncio.run(run(broker))
