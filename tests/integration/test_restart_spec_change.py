"""A pipeline file that has changed: every service goes on under it with the same model, or says why it cannot."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.events import CleanEvent
from schemas.predictions import Prediction
from services.cli.settle import take_account
from services.cli.supervise import Supervisor
from services.domain.registry_api import Version
from services.runtime import clients
from services.runtime.settings import SettingsError
from tests.integration.load import Load
from tests.integration.pipelines import Pipeline, file, fresh_name, send, until
from tests.integration.refolding import read_version, refolded

SERVICES = ("cleaning", "scoring", "learner", "drift")
CANDIDATES = ("first", "second", "third")
WIND = """
[features.wind]
type = "number"
range = [0, 50]
missing = "mean"
outliers = { method = "mad", threshold = 8.0, then = "clip" }
"""
THIRD = """
[[model.candidates]]
name = "third"
model = "logistic_regression"
optimizer = "adagrad"
learning_rate = 0.1
"""


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A whole pipeline."""
    text = file(fresh_name("change"), every_examples=300)
    with Pipeline(tmp_path_factory.mktemp("change"), broker, text) as started:
        started.start_all()
        yield started


def edited(name: str) -> str:
    """A feature and a candidate more, another range, another cadence."""
    text = file(name, every_examples=200, features=WIND, candidates=THIRD)
    return text.replace("range = [-100, 100]", "range = [-2, 2]")


def restart_under(pipeline: Pipeline, text: str) -> None:
    for service in SERVICES:
        assert pipeline.terminate(service) == 0, pipeline.last_words(service)
    pipeline.rewrite(text)
    for service in SERVICES:
        pipeline.restart(service)
    pipeline.wait_ready()


async def worked_off(pipeline: Pipeline, stream: Load, count: int) -> None:
    events, labels = stream.portion(count)
    await send(pipeline.deployment, pipeline.deployment.topic("events.raw"), events)
    await send(pipeline.deployment, pipeline.deployment.topic("labels.raw"), labels)
    await pipeline.settle()
    drawn = await take_account(pipeline.deployment)
    assert drawn.balanced, drawn.checks


async def newest(pipeline: Pipeline, candidate: str) -> Version:
    async with pipeline.registry() as registry:
        return (await registry.versions(pipeline.deployment.name, candidate=candidate, limit=1)).items[0]


def test_an_edited_file_continues_the_same_model(pipeline: Pipeline) -> None:
    """A feature, a candidate and a rule changed: the log goes on under a second control record, and so does the model."""
    stream = Load("change")

    async def scenario() -> None:
        await worked_off(pipeline, stream, 1500)
        before, learned = await newest(pipeline, "first"), (await pipeline.totals())["train"]["examples"]
        restart_under(pipeline, edited(pipeline.deployment.name))
        stream.more = {"wind": 12.5}
        await worked_off(pipeline, stream, 1500)
        train = (await pipeline.totals())["train"]
        assert train["controls"] == 2
        assert train["examples"] > learned + 900
        spec = pipeline.deployment.spec_hash

        async def published() -> bool:
            async with pipeline.registry() as registry:
                pages = [await registry.versions(pipeline.deployment.name, candidate=it, limit=1) for it in CANDIDATES]
            found = [await read_version(pipeline, version) for page in pages for version in page.items]
            return len(found) == len(CANDIDATES) and all(it.manifest.examples > learned for it in found)

        await until(published, "a version of each candidate that has learned under the new file")
        for candidate in CANDIDATES:
            version = await newest(pipeline, candidate)
            assert (version.log_id, version.spec) == (before.log_id, spec)
            made, again = (await read_version(pipeline, version)).manifest, await refolded(pipeline, version)
            assert (made.canaries, made.examples) == (again.canaries, again.examples)
        clean = [it for it in await pipeline.decoded("events.clean", CleanEvent) if it.spec == spec]
        assert len(clean) == 1500
        assert {it.features["wind"] for it in clean} == {12.5}
        assert all(abs(it.features["x"] or 0) <= 2 for it in clean if isinstance(it.features["x"], float))

        async def is_scored() -> bool:
            await worked_off(pipeline, stream, 50)
            made = [it for it in await pipeline.decoded("predictions", Prediction) if it.spec == spec]
            return any("third" in {challenger.candidate for challenger in it.challengers} for it in made)

        await until(is_scored, "predictions with the new candidate's scores")  # its first version takes its time

    asyncio.run(scenario())


def test_a_start_leaves_no_offsets_behind(pipeline: Pipeline) -> None:
    """Each start has a group of its own on the control topics; having read them, it has committed nothing."""

    async def committed() -> list[dict[Any, Any]]:
        async with clients.admin(pipeline.deployment.settings) as admin:
            groups = [name for name, _ in await admin.list_consumer_groups()]
            own = [name for name in groups if re.fullmatch(rf"{pipeline.deployment.name}\.\w+\.[0-9a-f]{{32}}", name)]
            return [await admin.list_consumer_group_offsets(name) for name in own]

    found: list[dict[Any, Any]] = []

    async def all_have_joined() -> bool:
        found[:] = await committed()
        return len(found) >= len(SERVICES)

    asyncio.run(until(all_have_joined, "a group of each process"))  # while they run: Kafka forgets empty groups
    assert not any(found)


def test_a_change_of_meaning_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    """Under a file that would give the log another meaning no service starts, each says why, and `up` starts nothing."""
    controls = asyncio.run(pipeline.totals())["train"]["controls"]
    for service in SERVICES:
        pipeline.terminate(service)
    pipeline.rewrite(edited(pipeline.deployment.name).replace('value = "late"', 'value = "delayed"'))
    for service in SERVICES:
        pipeline.restart(service)
    for service in SERVICES:
        assert pipeline.processes[service].running.wait(60) == 2, pipeline.last_words(service)
        told = pipeline.last_words(service).splitlines()[-1]
        assert told.startswith(f"{service}: "), told
        assert "label.value" in told

    supervisor = Supervisor(pipeline.path, tmp_path, broker=pipeline.deployment.settings.broker)

    async def up() -> None:
        try:
            await supervisor.start()
        finally:
            await supervisor.stop()

    with pytest.raises(SettingsError, match=r"label\.value"):
        asyncio.run(up())
    assert not supervisor.children
    assert asyncio.run(pipeline.totals())["train"]["controls"] == controls
