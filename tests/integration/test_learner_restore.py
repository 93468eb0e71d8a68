"""A learner goes on from its last snapshots, its own or the registry's, and without a candidate that cannot go on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from schemas.parameters import LiveParameters
from services.domain import live
from services.learner.training import Data
from services.runtime import checkpoints, clients
from tests.integration.pipelines import KEY, Pipeline, file, fresh_name, until
from tests.integration.teaching import Teacher
from tests.unit.estimators import CANDIDATE

EXAMPLES = 300
OTHER = "another key, for once"


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A registry and the learner's stage that trains, fed by the tests."""
    text = file(fresh_name("restore"), candidates=CANDIDATE, every_examples=100)
    with Pipeline(tmp_path_factory.mktemp("restore"), broker, text) as started:
        started.start("registry")
        started.start("learner", arguments=("--role", "train"))
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def teacher(pipeline: Pipeline) -> Teacher:
    """Folds the same log in the test, the reference of what the learner must come to."""
    taught = Teacher(pipeline, teach=False)
    asyncio.run(taught.await_control())
    return taught


async def snapshot_offset(pipeline: Pipeline) -> int:
    """The offset that the checkpoint's snapshots were taken at; 0 while there are none."""
    deployment = pipeline.deployment
    found = await checkpoints.last(deployment.settings, deployment.topic("state.learner"), 0, b"train/0")
    kept = msgspec.json.decode(found.data, type=Data).snapshots if found else {}
    if not kept:
        return 0
    async with pipeline.registry() as registry:
        version = await registry.version(deployment.name, kept["first"].version)
    return version.examples_offset


async def forget_before(pipeline: Pipeline, offset: int) -> None:
    """Delete the examples before an offset, so that nobody can fold them again."""
    deployment = pipeline.deployment
    async with clients.admin(deployment.settings) as admin:
        place = TopicPartition(deployment.topic("examples"), 0)
        await admin.delete_records({place: RecordsToDelete(before_offset=offset)})


async def newest_live(pipeline: Pipeline, offset: int) -> LiveParameters:
    """Live parameters of exactly this examples offset, once they are there."""
    found: list[LiveParameters] = []

    async def there() -> bool:
        values = [record.value for record in await pipeline.records("parameters")]
        found[:] = [
            it
            for it in (live.unseal(value, [KEY.encode(), OTHER.encode()]) for value in values)
            if it.examples_offset == offset
        ]
        return bool(found)

    await until(there, f"live parameters at {offset}; {pipeline.last_words('learner')}")
    return found[-1]


async def goes_on_as_if_never_stopped(pipeline: Pipeline, teacher: Teacher) -> None:
    """More examples, and the learner's live parameters are those of a fold that never stopped."""
    await teacher.send_examples(50)
    learned = await newest_live(pipeline, teacher.fold.offset)

    async def checkpointed() -> bool:  # in the same transaction, whose end each topic shows at its own time
        return (await pipeline.totals())["train"]["examples"] == teacher.fold.examples

    await until(checkpointed, f"{teacher.fold.examples} examples counted; {pipeline.last_words('learner')}")
    expected = teacher.fold.live({name: it.version for name, it in learned.candidates.items()})
    assert expected is not None
    assert (learned.encodings, learned.plan) == (expected.encodings, expected.plan)
    assert learned.candidates == expected.candidates


async def taught_up_to_a_snapshot(pipeline: Pipeline, teacher: Teacher) -> int:
    await teacher.send_examples(EXAMPLES)
    begun = teacher.fold.offset - EXAMPLES

    async def taken() -> bool:
        return await snapshot_offset(pipeline) >= begun + 100

    await until(taken, f"a snapshot of the last {EXAMPLES - 100} examples; {pipeline.last_words('learner')}")
    return await snapshot_offset(pipeline)


def test_a_learner_with_another_key_ends_unless_it_is_told_to_refold(pipeline: Pipeline, teacher: Teacher) -> None:
    """It says what to do with exit code 2, signs nothing, and told to it continues the same model from the log alone."""
    learner = pipeline.processes["learner"]
    arguments, env = learner.arguments, learner.env

    async def scenario() -> None:
        await taught_up_to_a_snapshot(pipeline, teacher)
        pipeline.kill("learner")
        learner.env = {**env, "RIVERMILL_SIGNING_KEY": OTHER}
        pipeline.restart("learner")
        assert learner.running.wait(60) == 2, pipeline.last_words("learner")
        for words in ("RIVERMILL_SIGNING_KEY_PREVIOUS", "--refold"):
            assert words in pipeline.last_words("learner")
        learner.arguments = [*arguments, "--refold"]
        pipeline.restart("learner")
        await goes_on_as_if_never_stopped(pipeline, teacher)
        learner.arguments, learner.env = arguments, {**env, "RIVERMILL_SIGNING_KEY_PREVIOUS": OTHER}
        pipeline.kill("learner")
        pipeline.restart("learner")
        await goes_on_as_if_never_stopped(pipeline, teacher)

    asyncio.run(scenario())


def test_a_learner_restarts_from_its_cache_while_the_registry_is_away(pipeline: Pipeline, teacher: Teacher) -> None:
    """With the log before its snapshots gone and the registry down, a killed learner continues the same model."""

    async def scenario() -> None:
        offset = await taught_up_to_a_snapshot(pipeline, teacher)
        pipeline.kill("learner")
        assert pipeline.terminate("registry") == 0
        await forget_before(pipeline, offset)
        pipeline.restart("learner")
        await goes_on_as_if_never_stopped(pipeline, teacher)
        pipeline.restart("registry")
        pipeline.wait_ready("registry", "learner")

        async def published() -> bool:
            return await snapshot_offset(pipeline) > offset

        await teacher.send_examples(100)
        await until(published, f"versions once the registry is back; {pipeline.last_words('learner')}")

    asyncio.run(scenario())


def test_a_learner_restarts_from_the_registry_when_its_cache_is_gone(pipeline: Pipeline, teacher: Teacher) -> None:
    """With the log before its snapshots and its own folder gone, a killed learner continues the same model."""

    async def scenario() -> None:
        offset = await taught_up_to_a_snapshot(pipeline, teacher)
        pipeline.kill("learner")
        await forget_before(pipeline, offset)
        shutil.rmtree(Path(pipeline.processes["learner"].env["RIVERMILL_DATA_DIR"]))
        pipeline.restart("learner")
        await goes_on_as_if_never_stopped(pipeline, teacher)

    asyncio.run(scenario())


def test_a_candidate_that_cannot_be_written_down_stops_nobody(pipeline: Pipeline, teacher: Teacher) -> None:
    """The log withdraws it once, the learner lives on and comes back without it, and scoring keeps its last version."""

    async def scenario() -> None:
        pipeline.start("scoring", RIVERMILL_SIGNING_KEY_PREVIOUS=OTHER)
        learner = pipeline.processes["learner"].running
        await teacher.send_examples(EXAMPLES, color="closed")
        await teacher.await_control()
        withdrawn = teacher.fold.control
        assert withdrawn is not None
        assert [it.candidate for it in withdrawn.withdrawn] == ["own"]
        assert await taught_up_to_a_snapshot(pipeline, teacher) > withdrawn.withdrawn[0].examples_offset
        assert learner.poll() is None, pipeline.last_words("learner")
        pipeline.kill("learner")
        pipeline.restart("learner")
        await goes_on_as_if_never_stopped(pipeline, teacher)
        assert (await pipeline.totals())["train"]["controls"] == 2
        assert [(it.state, it.severity) for it in await teacher.alerts("candidate/own")] == [("opened", "critical")]
        pipeline.wait_ready("scoring")
        made = await teacher.compared("own", "second")
        assert {it.model.candidate for it in made} == {"first"}

    asyncio.run(scenario())
