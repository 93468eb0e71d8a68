"""Processes that stall, that are told to stop, or that all lose power at once: the account holds through all of it."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from services.cli.settle import take_account
from tests.integration.load import Load
from tests.integration.pipelines import ANSWER_S, PARTITIONS, Pipeline, file, fresh_name, send, until

SERVICES = ("cleaning", "scoring", "learner", "drift")
TWICE = ("scoring", "learner")
EVENTS = 4_000


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A whole pipeline; scoring and the learner run twice."""
    with Pipeline(tmp_path_factory.mktemp("outages"), broker, file(fresh_name("outages"))) as started:
        started.start("registry")
        for service in SERVICES:
            started.start(service)
        for service in TWICE:
            started.start(service, f"{service}-2")
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def stream() -> Load:
    """One stream for all tests of the module: its event times only rise."""
    return Load("outage")


async def lanes(pipeline: Pipeline, name: str) -> Counter[str]:
    """Lanes by stage that a process runs now."""
    assert pipeline.processes[name].running.poll() is None, pipeline.last_words(name)
    async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
        page = (await client.get(f"{pipeline.processes[name].url}/metrics")).text
    found = re.findall(r'rivermill_lanes\{stage="(\w+)"\} ([0-9.]+)', page)
    return Counter({stage: int(float(count)) for stage, count in found})


async def feed(pipeline: Pipeline, stream: Load) -> None:
    events, labels = stream.portion(EVENTS)
    await send(pipeline.deployment, pipeline.deployment.topic("events.raw"), events)
    await send(pipeline.deployment, pipeline.deployment.topic("labels.raw"), labels)


async def at_work(pipeline: Pipeline, stream: Load, stage: str, total: str) -> None:
    """Feed some events, and return when a stage has begun with them."""
    before = (await pipeline.totals())[stage].get(total, 0)
    await feed(pipeline, stream)

    async def begun() -> bool:
        return (await pipeline.totals())[stage].get(total, 0) > before

    await until(begun, f"{stage} to begin")


async def holds(pipeline: Pipeline, stream: Load) -> None:
    """The account balances, against the topics too, and every event was cleaned and predicted once."""
    await pipeline.settle()
    drawn = await take_account(pipeline.deployment)
    assert drawn.balanced, (drawn.equations, drawn.checks)
    assert drawn.totals["clean"]["events"] == stream.expected["events"]
    assert drawn.totals["join"]["repeats"] == 0
    keys = [record.key for record in await pipeline.records("predictions")]
    assert len(keys) == len(set(keys)) == stream.expected["events"]


@pytest.mark.parametrize(
    ("service", "stage", "total"), [("scoring", "score", "in"), ("learner", "join", "predictions")]
)
def test_a_process_that_stalls_is_replaced_and_does_no_harm_when_it_wakes(
    pipeline: Pipeline, stream: Load, service: str, stage: str, total: str
) -> None:
    """Stopped in the middle of its work, a process loses its lanes to the other; awake again, it is fenced and shares."""
    stalled, other = f"{service}-2", service

    async def takes_all() -> bool:
        return (await lanes(pipeline, other))[stage] == PARTITIONS

    async def share() -> bool:
        return (await lanes(pipeline, stalled))[stage] == (await lanes(pipeline, other))[stage] == PARTITIONS // 2

    async def scenario() -> None:
        await until(share, f"two lanes of {stage} in each process")
        await at_work(pipeline, stream, stage, total)
        pipeline.processes[stalled].running.send_signal(signal.SIGSTOP)
        try:
            await until(takes_all, f"all lanes of {stage} in one process; {pipeline.last_words(other)}")
            await feed(pipeline, stream)
        finally:
            pipeline.processes[stalled].running.send_signal(signal.SIGCONT)
        await until(share, f"two lanes of {stage} in each process again; {pipeline.last_words(stalled)}")
        await holds(pipeline, stream)

    asyncio.run(scenario())


def test_services_told_to_stop_commit_what_they_have_begun(pipeline: Pipeline, stream: Load) -> None:
    """SIGTERM in the middle of the work ends every process with exit code 0, and nothing is done twice after it."""

    async def scenario() -> None:
        await at_work(pipeline, stream, "clean", "events")
        names = [name for name in pipeline.processes if name != "registry"]
        for name in names:
            assert pipeline.terminate(name) == 0, pipeline.last_words(name)
        for name in names:
            pipeline.restart(name)
        pipeline.wait_ready()
        await holds(pipeline, stream)

    asyncio.run(scenario())


def test_a_power_cut_loses_nothing(pipeline: Pipeline, stream: Load) -> None:
    """Every process killed at once, the registry too, and started again: the account balances to the record."""

    async def scenario() -> None:
        await at_work(pipeline, stream, "score", "in")
        for name in pipeline.processes:
            pipeline.kill(name)
        for name in pipeline.processes:
            pipeline.restart(name)
        pipeline.wait_ready()
        await send(pipeline.deployment, pipeline.deployment.topic("labels.raw"), stream.rest())
        await holds(pipeline, stream)

    asyncio.run(scenario())
