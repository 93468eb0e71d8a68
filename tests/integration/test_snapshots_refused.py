"""Snapshots that must not be served: the old version keeps serving, and an alert says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.codec import encode
from schemas.models import AliasRecord
from services.domain import snapshot
from services.domain.registry_api import Version
from tests.integration.pipelines import KEY, Pipeline, file, fresh_name, until
from tests.integration.teaching import Teacher


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A registry and one process of scoring."""
    with Pipeline(tmp_path_factory.mktemp("refused"), broker, file(fresh_name("refused"))) as started:
        started.start("registry")
        started.start("scoring")
        yield started


@pytest.fixture(scope="module")
def teacher(pipeline: Pipeline) -> Teacher:
    """Whoever publishes versions; the first ones are there."""
    pipeline.wait_ready("registry")
    taught = Teacher(pipeline)
    asyncio.run(taught.publish())
    pipeline.wait_ready("scoring")
    return taught


def blob_of(teacher: Teacher) -> bytes:
    teacher.learn()
    return next(taken.blob for taken in teacher.fold.snapshots() if taken.candidate == "first")


async def another_key(teacher: Teacher, pipeline: Pipeline) -> Version:  # noqa: ARG001 - all makers are called alike
    """A version that someone without the key has signed."""
    return await teacher.publish_blob("first", blob_of(teacher), key="the-key-of-somebody-else")


async def no_snapshot(teacher: Teacher, pipeline: Pipeline) -> Version:  # noqa: ARG001 - as above
    """A version whose bytes are rightly signed, but are no snapshot from the middle on."""
    blob = blob_of(teacher)
    return await teacher.publish_blob("first", blob[: len(blob) // 2] + bytes(len(blob) - len(blob) // 2))


async def other_predictions(teacher: Teacher, pipeline: Pipeline) -> Version:  # noqa: ARG001 - as above
    """A version that does not predict here what it says it predicted where it was made."""
    blob = blob_of(teacher)
    opened = snapshot.read(blob, snapshot.sign(blob, KEY.encode()), [KEY.encode()])
    opened.manifest.canaries[0].expected += 0.01
    return await teacher.publish_blob("first", snapshot.write(opened.manifest, opened.shared, opened.payload))


async def altered_in_the_store(teacher: Teacher, pipeline: Pipeline) -> Version:
    """A version whose blob was altered behind the registry's back."""
    version = await teacher.publish_blob("first", blob_of(teacher))
    alter(Path(pipeline.processes["registry"].env["RIVERMILL_DATA_DIR"]), version.sha256)
    return version


def alter(folder: Path, sha256: str) -> None:
    path = next(folder.rglob(sha256))
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


@pytest.mark.parametrize("make", [another_key, no_snapshot, other_predictions, altered_in_the_store])
def test_a_bad_snapshot_is_refused_and_the_old_version_serves_on(
    teacher: Teacher, pipeline: Pipeline, make: object
) -> None:
    """Pinned to a snapshot that cannot be trusted, scoring serves its old version and alerts; rolled back, it says so."""
    assert callable(make)

    async def scenario() -> None:
        good = (await teacher.publish())["first"]
        await teacher.point("champion", good.version)
        await teacher.served(good.version)
        bad = await make(teacher, pipeline)
        await teacher.point("champion", bad.version)
        signal = f"champion/{bad.version}"

        async def told(count: int = 1) -> bool:
            return len(await teacher.alerts(signal)) == count

        await until(told, f"an alert; {pipeline.last_words('scoring')}")
        assert {made.model.version for _, made in await teacher.predictions()} == {good.version}
        await teacher.point("champion", good.version)
        await until(lambda: told(2), "the alert resolved")
        opened, resolved = await teacher.alerts(signal)
        assert (opened.state, opened.kind, opened.severity) == ("opened", "model", "critical")
        assert opened.model is not None
        assert opened.model.version == bad.version
        assert (resolved.state, resolved.resolution) == ("resolved", "recovered")
        assert resolved.incident_id == opened.incident_id

    asyncio.run(scenario())


def test_live_parameters_under_another_key_are_refused(teacher: Teacher, pipeline: Pipeline) -> None:
    """Live state that somebody without the key has signed is not served, and an alert says so."""

    async def scenario() -> None:
        good = (await teacher.publish())["first"]
        await teacher.point("champion", good.version)
        await teacher.served(good.version)
        teacher.learn()
        offset = await teacher.send_live(key="the-key-of-somebody-else")

        async def told() -> bool:
            return bool(await teacher.alerts("parameters"))

        await until(told, f"an alert; {pipeline.last_words('scoring')}")
        made = [it for _, it in await teacher.predictions()]
        assert {it.model.version for it in made} == {good.version}
        assert all(it.encodings_offset < offset for it in made)

    asyncio.run(scenario())


@pytest.mark.parametrize(("size", "says"), [(65 * 1024 * 1024, "at most"), (10, "larger than the 10 bytes")])
def test_an_oversized_snapshot_is_refused(teacher: Teacher, pipeline: Pipeline, size: int, says: str) -> None:
    """A decision that names a snapshot larger than is ever read, or than it says it is, changes nothing but the alerts."""

    async def scenario() -> None:
        good = (await teacher.publish())["first"]
        await teacher.point("champion", good.version)
        await teacher.served(good.version)
        decision = (await pipeline.decoded("models", AliasRecord))[-1]
        assert (decision.alias, decision.version) == ("champion", good.version)
        bad = await teacher.publish_blob("first", blob_of(teacher))
        forged = msgspec.structs.replace(
            decision, version=bad.version, snapshot_sha256=bad.sha256, signature=bad.signature, size=size,
            revision=decision.revision + 1,
        )  # fmt: skip
        await teacher.send_decision(encode(forged))

        async def told() -> bool:
            return bool(await teacher.alerts(f"champion/{bad.version}"))

        await until(told, f"an alert; {pipeline.last_words('scoring')}")
        assert says in (await teacher.alerts(f"champion/{bad.version}"))[0].summary
        assert {made.model.version for _, made in await teacher.predictions()} == {good.version}
        restored = msgspec.structs.replace(decision, revision=decision.revision + 2)
        await teacher.send_decision(encode(restored))
        for live in (True, False, True):  # until the registry's own revisions are ahead again
            await teacher.point("champion", good.version, live=live)

    asyncio.run(scenario())
