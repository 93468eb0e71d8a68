"""A pipeline file that has changed: the learner continues the same model under it, or says why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from services.domain.registry_api import Version
from tests.integration.pipelines import Pipeline, file, fresh_name, until
from tests.integration.refolding import read_version, refolded
from tests.integration.teaching import Teacher

WIND = """
[features.wind]
type = "number"
missing = 0.0
"""
THIRD = """
[[model.candidates]]
name = "third"
model = "logistic_regression"
optimizer = "adagrad"
learning_rate = 0.1
"""


@pytest.fixture
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A registry and the learner's stage that trains, fed by the test."""
    text = file(fresh_name("change"), every_examples=100)
    with Pipeline(tmp_path_factory.mktemp("change"), broker, text) as started:
        started.start("registry")
        started.start("learner", arguments=("--role", "train"))
        started.wait_ready()
        yield started


async def newest(pipeline: Pipeline, candidate: str) -> Version | None:
    async with pipeline.registry() as registry:
        if all(model.name != pipeline.deployment.name for model in await registry.models()):
            return None
        page = await registry.versions(pipeline.deployment.name, candidate=candidate, limit=1)
    return page.items[0] if page.items else None


async def version_after(pipeline: Pipeline, candidate: str, offset: int) -> Version:
    """The newest version of a candidate, once it has seen this offset."""

    async def there() -> bool:
        version = await newest(pipeline, candidate)
        return version is not None and version.examples_offset >= offset

    await until(there, f"{candidate} at {offset}; {pipeline.last_words('learner')}")
    version = await newest(pipeline, candidate)
    assert version is not None
    return version


def test_an_edited_file_continues_the_same_model(pipeline: Pipeline) -> None:
    """A feature, a candidate and a rule more: the log goes on under a second control record, and so does what was learned.

    A change that would give the log another meaning ends the learner with one line, and the log as it was.
    """
    name = pipeline.deployment.name

    async def scenario() -> None:
        teacher = Teacher(pipeline, teach=False)
        await teacher.await_control()
        await teacher.send_examples(150)
        before = await version_after(pipeline, "first", 100)
        assert pipeline.terminate("learner") == 0
        changed = file(name, every_examples=100, features=WIND, candidates=THIRD).replace("[-100, 100]", "[-50, 50]")
        pipeline.rewrite(changed)
        pipeline.restart("learner")
        await teacher.await_control()
        await teacher.send_examples(150)
        after = await version_after(pipeline, "first", teacher.fold.offset - 100)
        assert (after.log_id, after.spec) == (before.log_id, pipeline.deployment.spec_hash)
        assert before.spec != after.spec
        assert (await pipeline.totals())["train"] == {"examples": 300, "corrections": 0, "controls": 2}
        third = await version_after(pipeline, "third", teacher.fold.offset - 100)
        for version in (after, third):
            published, again = (await read_version(pipeline, version)).manifest, await refolded(pipeline, version)
            assert (published.canaries, published.examples) == (again.canaries, again.examples)
            assert published.examples > 150

    asyncio.run(scenario())
    refused_change(pipeline, name)


def refused_change(pipeline: Pipeline, name: str) -> None:
    controls = asyncio.run(pipeline.totals())["train"]["controls"]
    pipeline.terminate("learner")
    pipeline.rewrite(file(name, every_examples=100).replace('value = "late"', 'value = "delayed"'))
    pipeline.restart("learner")
    assert pipeline.processes["learner"].running.wait(30) == 1
    assert "label.value" in pipeline.last_words("learner")
    assert "Traceback" not in pipeline.last_words("learner")
    assert asyncio.run(pipeline.totals())["train"]["controls"] == controls
