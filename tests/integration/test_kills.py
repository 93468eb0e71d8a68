"""Services killed with -9 at five moments while they work on 25,000 events: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import pytest

from schemas.alerts import Alert
from schemas.examples import Example, Record
from schemas.outcomes import Outcome
from schemas.summaries import Summary
from services.cli.account import stage_totals
from services.cli.positions import Checkpoints
from services.cli.settle import take_account
from services.domain import snapshot
from services.drift.core.detect import Detect
from tests.integration.load import Load
from tests.integration.pipelines import PARTITIONS, Pipeline, file, fresh_name, send, until
from tests.integration.refolding import read_version, refolded

EVENTS, MORE = 25_000, 5_000
AT = (0.02, 0.1, 0.2, 0.3, 0.4)
"""The share of the events that a service has read when it is killed."""
READS = {
    "cleaning": ("clean", "events"), "scoring": ("score", "in"), "learner": ("join", "predictions"),
    "drift": ("summarise", "predictions"),
}  # fmt: skip
"""Stage and total that tell how far a service is."""
DRIFTED = range(3 * EVENTS + 1_000, 3 * EVENTS + 9_000)
"""Numbers of the events that have drifted: while drift, the last of the services, is being killed."""


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all tests of this module, all services running."""
    with Pipeline(tmp_path_factory.mktemp("kills"), broker, file(fresh_name("kills"))) as started:
        started.start_all()
        yield started


async def killed_while_it_works(pipeline: Pipeline, service: str, stream: Load) -> None:
    """Feed the whole stream, and kill the service five times at so many of its events: in the midst of what it has.

    One that was through before it was killed gets more events, and is killed among these.
    """
    stage, total = READS[service]
    async with Checkpoints(pipeline.deployment) as reader:

        async def read() -> int:
            return stage_totals(await reader.refresh())[stage].get(total, 0)

        async def killed_at(target: int) -> bool:
            async def reached() -> bool:
                return await read() > target

            await until(reached, f"{stage} to have read {target}; {pipeline.last_words(service)}")
            pipeline.kill(service)
            pipeline.restart(service)
            return await read() < fed

        began = await read()
        fed = began + await feed(pipeline, stream, EVENTS)
        for share in AT:
            target = began + int(share * EVENTS)
            while not await killed_at(target):
                target, fed = fed, fed + await feed(pipeline, stream, MORE)
    await send(pipeline.deployment, pipeline.deployment.topic("labels.raw"), stream.rest())
    pipeline.wait_ready(service)


async def feed(pipeline: Pipeline, stream: Load, count: int) -> int:
    events, labels = stream.portion(count)
    await send(pipeline.deployment, pipeline.deployment.topic("events.raw"), events)
    await send(pipeline.deployment, pipeline.deployment.topic("labels.raw"), labels)
    return count


@pytest.mark.parametrize("service", list(READS))
def test_a_service_killed_five_times_keeps_the_account(pipeline: Pipeline, service: str) -> None:
    """After kill -9 at five moments of 25,000 events every equation of the account holds, to the record."""
    stream = Load(service, list(READS).index(service) * EVENTS, drifted=DRIFTED)

    async def scenario() -> None:
        before = (await pipeline.totals())["clean"]
        await killed_while_it_works(pipeline, service, stream)
        stages = (await pipeline.settle()).totals
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


def test_every_record_is_summarised_once(pipeline: Pipeline) -> None:
    """The parts of a lane, laid end to end, are its predictions (its examples, corrections aside), none missing or twice."""

    async def scenario() -> None:
        await pipeline.settle()
        decode = msgspec.json.Decoder(Record).decode
        parts: dict[tuple[str, int], list[Summary]] = defaultdict(list)
        for part in await pipeline.decoded("summaries", Summary):
            parts[part.source, part.lane].append(part)
        offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
        for record in await pipeline.records("predictions"):
            offsets["predictions", record.partition].append(record.offset)
        for record in await pipeline.records("examples"):
            example = decode(record.value)
            if isinstance(example, Example) and example.corrects is None:
                offsets["examples", 0].append(record.offset)
        assert parts.keys() == offsets.keys()
        for place, lane in parts.items():
            rest = iter(offsets[place])
            for part in lane:
                taken = list(islice(rest, part.events))
                assert (taken[0], taken[-1]) == (part.first_offset, part.last_offset)

    asyncio.run(scenario())


def test_every_alert_is_told_once(pipeline: Pipeline) -> None:
    """The alerts are, byte for byte, what the summaries folded from their start give, and tell of the drift."""

    async def scenario() -> None:
        await pipeline.settle()
        fold = Detect(pipeline.deployment.spec)
        told = fold.process(await pipeline.records("summaries"), 0).to("alerts", 0)
        found = [record for record in await pipeline.records("alerts") if record.key.startswith(b"drift-")]
        assert [(record.key, record.value) for record in found] == [(out.key, out.value) for out in told]
        alerts = [msgspec.json.decode(record.value, type=Alert) for record in found]
        assert repeated([alert.alert_id for alert in alerts]) == []
        lives: dict[str, list[str]] = defaultdict(list)
        for alert in alerts:
            lives[alert.incident_id].append(alert.state)
        assert all(re.fullmatch("opened( updated)*( resolved)?", " ".join(states)) for states in lives.values())
        assert "y" in {suspect.feature for alert in alerts for suspect in alert.suspects}

    asyncio.run(scenario())


def repeated(values: Sequence[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]
