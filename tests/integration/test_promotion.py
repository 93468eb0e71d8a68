"""Two scoring processes follow what people decide in a real registry: promotion, pin, rollback and release."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from math import isclose

import httpx
import pytest

from services.domain.registry_api import Version
from tests.integration.pipelines import ANSWER_S, Pipeline, file, fresh_name, until
from tests.integration.teaching import Teacher

SCORERS = ("scoring", "scoring-2")
FOREST = """
[[model.candidates]]
name = "forest"
model = "adaptive_random_forest"
models = 3
"""


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A registry and two processes of scoring that share the four lanes, each with a cache of its own."""
    text = file(fresh_name("promotion"), candidates=FOREST)
    with Pipeline(tmp_path_factory.mktemp("promotion"), broker, text) as started:
        started.start("registry")
        for name in SCORERS:
            started.start("scoring", name)
        yield started


@pytest.fixture(scope="module")
def teacher(pipeline: Pipeline) -> Teacher:
    """Whoever publishes versions; the first ones are there, and both processes run two lanes."""
    taught = Teacher(pipeline)

    async def begin() -> None:
        pipeline.wait_ready("registry")
        await taught.publish()
        pipeline.wait_ready(*SCORERS)
        await until(lambda: two_lanes_each(pipeline), "two lanes in each process")

    asyncio.run(begin())
    return taught


async def two_lanes_each(pipeline: Pipeline) -> bool:
    async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
        pages = [(await client.get(f"{pipeline.processes[name].url}/metrics")).text for name in SCORERS]
    return all(re.search(r'rivermill_lanes\{stage="score"\} 2\.0', page) for page in pages)


def test_both_processes_follow_a_promotion(teacher: Teacher) -> None:
    """Once the challenger is promoted, every partition predicts with it, and the former champion is compared with it."""

    async def scenario() -> None:
        versions = await teacher.publish()
        await teacher.served(versions["first"].version)
        await teacher.point("champion", versions["second"].version, live=True, reason="promoted by a test")
        made = await teacher.served(versions["second"].version)
        assert {it.model.candidate for it in made} == {"second"}
        made = await teacher.compared("first", "forest")
        assert all(isclose(it.score, teacher.score(it.model.version, it), abs_tol=1e-9) for it in made)
        await teacher.point("champion", versions["first"].version, live=True)
        await teacher.served(versions["first"].version)

    asyncio.run(scenario())


def test_a_promoted_forest_is_served_as_its_newest_snapshot_has_it(teacher: Teacher) -> None:
    """A model too large for live parameters predicts, once promoted, as its version does, and follows its next one."""

    async def serves(version: Version) -> None:
        made = await teacher.served(version.version)
        assert {(it.model.candidate, it.model.examples_offset) for it in made} == {("forest", version.examples_offset)}
        assert all(it.score == teacher.score(version.version, it) for it in made)

    async def scenario() -> None:
        version = (await teacher.publish())["forest"]
        await teacher.point("champion", version.version, live=True)
        await serves(version)
        await serves((await teacher.publish())["forest"])
        await teacher.point("champion", teacher.versions["first"], live=True)
        await teacher.served(teacher.versions["first"])

    asyncio.run(scenario())


def test_a_pin_serves_exactly_its_version_while_encodings_stay_live(teacher: Teacher) -> None:
    """A pinned champion keeps its model whatever is learned; the encodings go on; a release follows the newest again."""

    async def scenario() -> None:
        pinned = (await teacher.publish())["first"]
        await teacher.point("champion", pinned.version, reason="pinned by a test")
        await teacher.served(pinned.version)
        newest = (await teacher.publish())["first"]
        teacher.learn()
        offset = await teacher.send_live()
        made = await teacher.served(pinned.version, encodings=offset)
        assert offset > newest.examples_offset > pinned.examples_offset
        assert {it.model.examples_offset for it in made} == {pinned.examples_offset}
        assert all(isclose(it.score, teacher.score(pinned.version, it), abs_tol=1e-9) for it in made)
        await teacher.point("champion", pinned.version, live=True, reason="released by a test")
        released = await teacher.served(newest.version, encodings=offset)
        assert {it.model.examples_offset for it in released} == {offset}

    asyncio.run(scenario())


def test_a_rollback_serves_exactly_the_older_version(teacher: Teacher) -> None:
    """Rolled back, every partition predicts as the older version did, not as what was learned since."""

    async def scenario() -> None:
        older = (await teacher.publish())["first"]
        newer = (await teacher.publish())["first"]
        await teacher.send_live()
        await teacher.served(newer.version)
        await teacher.point("champion", older.version, reason="rolled back by a test")
        made = await teacher.served(older.version)
        assert {it.model.examples_offset for it in made} == {older.examples_offset}
        assert all(isclose(it.score, teacher.score(older.version, it), abs_tol=1e-9) for it in made)
        await teacher.point("champion", older.version, live=True)
        await teacher.served(newer.version)

    asyncio.run(scenario())


def test_scoring_restarts_from_its_cache_while_the_registry_is_away(pipeline: Pipeline, teacher: Teacher) -> None:
    """With a pinned champion in their caches and no registry, both processes come back and serve exactly that version."""

    async def scenario() -> None:
        pinned = (await teacher.publish())["second"]
        await teacher.point("champion", pinned.version)
        await teacher.served(pinned.version)
        assert pipeline.terminate("registry") == 0
        for name in SCORERS:
            pipeline.kill(name)
            pipeline.restart(name)
        pipeline.wait_ready(*SCORERS)
        made = await teacher.served(pinned.version)
        assert all(isclose(it.score, teacher.score(pinned.version, it), abs_tol=1e-9) for it in made)
        pipeline.restart("registry")
        pipeline.wait_ready()

    asyncio.run(scenario())
