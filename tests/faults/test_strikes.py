"""Each of the adversary's strikes does what its name says, and undoes it: one that did nothing would prove nothing.

`kill`, `lose`, `terminate`, `stall`, `blobs`, `poison` and `promote` are in `test_chaos.py`; `outage` is `broker` for longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from chaos import clock, script
from chaos.adversary import Act
from chaos.faults import Faults
from chaos.feeder import Feeder
from chaos.owners import Owners
from chaos.recovery import Checkpoints
from chaos.run import supervisor
from chaos.strikes import STRIKES
from tests import debian

EVENTS, RATE = 1200, 100.0
ANSWER_S = 0.5
SCALED = "drift"
HALF_AN_HOUR_BACK = 1
"""The number of an act that puts the clock back by half an hour."""
FAR_MS = 600_000


class Field:
    """One process of each service, two of one, and what strikes them; :meth:`run` works on the loop that started them."""

    def __init__(self, runner: asyncio.Runner, folder: Path) -> None:
        self._runner = runner
        self.supervisor = supervisor(folder, clocks=True, processes=1)
        self.seen = Checkpoints()

    async def start(self) -> None:
        """Start it, with enough events and labels for versions of every candidate."""
        await self.supervisor.start(120.0)
        self.supervisor.add(SCALED, 1)
        deployment = self.supervisor.deployment
        self.feeder = Feeder(deployment, script.Script(1), RATE)
        self.faults = Faults(self.supervisor, Owners(dict), self.feeder, STRIKES, lambda _: None)
        await self.feeder.send(self.feeder.script.take(EVENTS))
        followed = self.seen.run(deployment.settings.broker, deployment.name, script.PARTITIONS)
        self._followed = asyncio.create_task(followed)

    async def stop(self) -> None:
        """End it."""
        self._followed.cancel()
        await self.feeder.close()
        await self.supervisor.stop()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Work on it, for a minute at most."""
        self._runner.run(asyncio.wait_for(work, 60.0))

    async def strike(self, fault: str, target: str, seconds: float, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Carry out one act, and do something once it has begun, while it lasts."""
        act = Act(0.0, fault, target, seconds, HALF_AN_HOUR_BACK)
        carried_out = asyncio.create_task(self.faults.carry_out([act]))
        while not any(it.act is act for it in self.faults.done):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        await meanwhile()
        await carried_out
        assert (self.faults.done[-1].left_out, self.faults.unready, self.faults.refused) == ("", [], [])

    def lasts(self) -> bool:
        """Whether the last act is at work: what it does may take a moment to show, as every thread of a process must stop."""
        return not self.faults.done[-1].ended_ms

    async def until_lost(self, ask: Callable[[], Awaitable[object]], error: type[Exception]) -> None:
        """Ask until there is no answer, which must be while the act is at work."""
        with pytest.raises(error):
            await self._while_it_lasts(ask)

    async def _while_it_lasts(self, ask: Callable[[], Awaitable[object]]) -> None:
        while self.lasts():
            await ask()

    def url(self, path: str) -> str:
        """A page of the registry."""
        return f"{self.supervisor.deployment.settings.registry_url}{path}"


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """The pipeline as chaos starts it."""
    if clock.library() is None:
        debian.install("libfaketime")
    with asyncio.Runner() as runner:
        found = Field(runner, tmp_path_factory.mktemp("strikes"))
        try:
            runner.run(found.start())
            yield found
        finally:
            runner.run(found.stop())


MODEL = f"/api/v1/models/{script.PIPELINE}"


async def nothing() -> None:
    """All that can be seen is seen afterwards."""


def test_pin_lets_the_champion_stay_at_the_newest_version(field: Field) -> None:
    """It is of the candidate that was named, and not live."""

    async def scenario() -> None:
        await field.strike("pin", "second", 0.0, nothing)
        async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
            page = (await client.get(field.url(f"{MODEL}/versions"), params={"candidate": "second"})).json()
            champion = (await client.get(field.url(MODEL))).json()["aliases"]["champion"]
        assert (champion["candidate"], champion["live"]) == ("second", False)
        assert champion["version"] in [version["version"] for version in page["items"]]

    field.run(scenario())


def test_full_lets_the_registry_write_nothing(field: Field) -> None:
    """A decision is refused while it lasts, and taken after it."""

    async def scenario() -> None:
        async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
            page = (await client.get(field.url(f"{MODEL}/versions"), params={"candidate": "first"})).json()
            body = {"version": page["items"][0]["version"], "live": False, "reason": "a test"}

            async def decide() -> int:
                return (await client.put(field.url(f"{MODEL}/aliases/champion"), json=body)).status_code

            async def refused() -> None:
                while await decide() < 500:
                    assert field.lasts()

            await field.strike("full", "registry", 1.5, refused)
            assert await decide() == 200

    field.run(scenario())


def test_registry_lets_nobody_have_an_answer(field: Field) -> None:
    """`/healthz` is silent while it lasts, and answers after it."""

    async def scenario() -> None:
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:

            async def silent() -> None:
                await field.until_lost(lambda: client.get(field.url("/healthz")), httpx.TimeoutException)

            await field.strike("registry", "registry", 1.5, silent)
        async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
            assert (await client.get(field.url("/healthz"))).is_success

    field.run(scenario())


def test_slow_stops_a_process_again_and_again(field: Field) -> None:
    """It is stopped several times while it lasts, runs in between, and is not stopped after it."""
    stopped: list[bool] = []

    def state() -> str:
        stat = Path(f"/proc/{field.supervisor.pids['learner']}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]

    async def look() -> None:
        while field.lasts():
            stopped.append(state() == "T")
            await asyncio.sleep(0.01)

    field.run(field.strike("slow", "learner", 3.0, look))
    assert sum(now and not before for before, now in pairwise(stopped)) > 3
    assert state() != "T"


def test_broker_lets_no_request_to_kafka_be_answered(field: Field) -> None:
    """A request is silent while it lasts, and is answered after it."""
    place = TopicPartition(f"{script.PIPELINE}.events.raw", 0)

    async def scenario() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=field.supervisor.deployment.settings.broker)
        await consumer.start()
        try:
            assert await consumer.end_offsets([place])

            async def silent() -> None:
                await field.until_lost(lambda: asyncio.wait_for(consumer.end_offsets([place]), ANSWER_S), TimeoutError)

            await field.strike("broker", "broker", 1.5, silent)
            assert await consumer.end_offsets([place])
        finally:
            await consumer.stop()

    field.run(scenario())


def test_clock_puts_the_wall_clocks_of_the_services_wrong(field: Field) -> None:
    """Checkpoints are stamped by them far from when they come while it lasts, and near it after it.

    A run without libfaketime leaves this strike out, and says so (`tests/unit/chaos/test_plan.py`).
    """
    assert clock.library() is not None, "the strike clock cannot be tested: install libfaketime (Debian's package)"

    async def stamped(*, wrong: bool) -> None:
        began = time.time() * 1000
        while True:
            await field.feeder.send(field.feeder.script.take(20))
            await asyncio.sleep(0.1)
            new = [it for lane in field.seen.by_lane.values() for it in lane if it.came_ms > began]
            if any((abs(it.came_ms - it.written_ms) > FAR_MS) == wrong for it in new):
                return

    async def scenario() -> None:
        await stamped(wrong=False)
        await field.strike("clock", "services", 8.0, lambda: asyncio.wait_for(stamped(wrong=True), 7.9))
        await stamped(wrong=False)

    field.run(scenario())


def test_scale_runs_one_process_then_three_then_one(field: Field) -> None:
    """And then the two that there were."""
    counts: list[int] = []

    async def count() -> None:
        while field.lasts():
            found = sum(name.partition("-")[0] == SCALED for name in field.supervisor.pids)
            if counts[-1:] != [found]:
                counts.append(found)
            await asyncio.sleep(0.01)

    field.run(field.strike("scale", SCALED, 0.2, count))
    steps = iter(counts)
    assert all(wanted in steps for wanted in (1, 3, 1, 2)), counts
    assert counts[-1] == 2


def test_reboot_starts_another_kafka(field: Field) -> None:
    """Its process is another one, and answers."""

    async def scenario() -> None:
        before = field.supervisor.pids["broker"]
        await field.strike("reboot", "broker", 0.0, nothing)
        assert field.supervisor.pids["broker"] != before
        field.feeder.failures = 0
        await field.feeder.send(field.feeder.script.take(20))
        assert field.feeder.failures == 0

    field.run(scenario())
