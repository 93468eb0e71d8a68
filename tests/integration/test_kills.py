"""Services killed with -9 at five moments while they work on 20,000 events: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from schemas.outcomes import Outcome
from services.cli.account import account
from services.cli.settle import offsets_produced, take_account, wait_settled
from services.domain import snapshot
from tests.integration.load import Load
from tests.integration.pipelines import PARTITIONS, Pipeline, file, fresh_name, send, until
from tests.integration.refolding import read_version, refolded

EVENTS = 20_000
KILLS = 5
PORTION = EVENTS // (KILLS + 1)
WITHIN = (0.02, 0.1, 0.25, 0.45, 0.7)
"""How far into its portion of the events each kill comes; the next portion is there already."""
READS = {
    "cleaning": ("clean", "events"), "scoring": ("score", "in"), "learner": ("join", "predictions"),
    "drift": ("summarise", "predictions"),
}  # fmt: skip
"""Stage and total that tell how far a service is."""


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all tests of this module, all services running."""
    with Pipeline(tmp_path_factory.mktemp("kills"), broker, file(fresh_name("kills"))) as started:
        started.start_all()
        yield started


async def killed_while_it_works(pipeline: Pipeline, service: str, stream: Load) -> None:
    """Feed the whole stream, and kill the service five times at so many of its events."""
    deployment = pipeline.deployment
    stage, total = READS[service]

    async def read() -> int:
        return (await pipeline.totals())[stage].get(total, 0)

    async def feed(count: int = PORTION) -> None:
        events, labels = stream.portion(count)
        await send(deployment, deployment.topic("events.raw"), events)
        await send(deployment, deployment.topic("labels.raw"), labels)

    began = await read()
    await feed(EVENTS - KILLS * PORTION)
    for kill, within in enumerate(WITHIN):
        await feed()
        target = began + int((kill + within) * PORTION)

        async def reached(at: int = target) -> bool:
            return await read() > at

        await until(reached, f"{stage} to have read {target}; {pipeline.last_words(service)}")
        pipeline.kill(service)
        assert await read() < began + stream.expected["events"], "it had nothing left to do when it was killed"
        pipeline.restart(service)
    await send(deployment, deployment.topic("labels.raw"), stream.rest())
    pipeline.wait_ready(service)


@pytest.mark.parametrize("service", list(READS))
def test_a_service_killed_five_times_keeps_the_account(pipeline: Pipeline, service: str) -> None:
    """After kill -9 at five moments of 20,000 events every equation of the account holds, to the record."""
    stream = Load(service, list(READS).index(service) * EVENTS)

    async def scenario() -> None:
        before = (await pipeline.totals())["clean"]
        await killed_while_it_works(pipeline, service, stream)
        lacking: dict[str, int] = {}
        settled = await wait_settled(pipeline.deployment, 60, lambda behind: lacking.update(behind) or None)
        stages, produced = await pipeline.totals(), await offsets_produced(pipeline.deployment)
        drawn = account(pipeline.deployment.name, stages, produced)
        assert settled, [equation for equation in drawn.equations if equation.difference]
        assert drawn.balanced
        clean, expected = Counter(stages["clean"]), stream.expected
        clean.subtract(before)
        assert clean["events"] == expected["events"]
        assert clean["labels"] == expected["labels"]
        assert clean["duplicates"] == expected["duplicates"]
        assert clean["deadletter.events.json_invalid"] == expected["poison_events"]
        assert clean["deadletter.labels.json_invalid"] == expected["poison_labels"]
        assert stages["join"]["repeats"] == 0

    asyncio.run(scenario())


def test_the_topics_hold_what_the_checkpoints_say(pipeline: Pipeline) -> None:
    """Record by record, every topic holds what the totals count, and no committed id is there twice."""

    async def scenario() -> None:
        drawn = await take_account(pipeline.deployment)
        assert drawn.balanced, [check for check in drawn.checks if not check.agrees]
        for name in ("events.clean", "predictions"):
            assert repeated([record.key for record in await pipeline.records(name)]) == []

    asyncio.run(scenario())


def test_every_prediction_has_one_final_outcome_at_most(pipeline: Pipeline) -> None:
    """No prediction is both labelled and expired, and none is either twice."""

    async def scenario() -> None:
        decode = msgspec.json.Decoder(Outcome).decode
        outcomes = [(record.partition, decode(record.value)) for record in await pipeline.records("outcomes")]
        final = {"labelled", "expired"}
        ends = [(place, outcome.prediction_offset) for place, outcome in outcomes if outcome.state in final]
        assert repeated(ends) == []
        assert {place for place, _ in ends} == set(range(PARTITIONS))
        assert {outcome.state for _, outcome in outcomes} >= final | {"corrected", "duplicate", "orphan"}

    asyncio.run(scenario())


def test_refolding_the_examples_gives_the_last_snapshots(pipeline: Pipeline) -> None:
    """Examples folded from their start say to the canary events what the registry's newest snapshots say."""

    async def scenario() -> None:
        for candidate in ("first", "second"):
            async with pipeline.registry() as registry:
                page = await registry.versions(pipeline.deployment.name, candidate=candidate, limit=1)
            version = page.items[0]
            published, again = (await read_version(pipeline, version)).manifest, await refolded(pipeline, version)
            assert (again.canaries, again.examples) == (published.canaries, published.examples)
            assert len(published.canaries) == snapshot.CANARIES

    asyncio.run(scenario())


def repeated(values: Sequence[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]
