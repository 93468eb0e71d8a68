"""Kafka's access control lists as they follow from the topic table: enough for the whole path, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from schemas.acls import ROLES
from services.cli import follow
from services.cli.access_lists import Acl
from services.cli.doctor import Patient
from services.cli.doctor_kafka import kafka
from services.domain.records import Out
from services.runtime import clients, rights
from services.runtime.access import AccessError, RefusedError, explained
from services.runtime.assignor import LaneAssignor
from services.runtime.launch import Deployment
from services.runtime.transactions import ExactlyOnce
from tests.integration.load import Load
from tests.integration.pipelines import KEY, Pipeline, deployed, file, fresh_name, send, until
from tests.integration.security.access import PRINCIPAL, allow, forbid, printed, reached
from tests.integration.security.secured import EVENTS, Secured, run

WRITES = (
    ("scoring", "examples"), ("cleaning", "predictions"), ("drift", "models"), ("registry", "parameters"),
    ("producers", "events.clean"), ("consumers", "predictions"), ("consumers", "labels.raw"), ("operators", "models"),
)  # fmt: skip
READS = (
    ("producers", "predictions"), ("consumers", "examples"), ("cleaning", "parameters"), ("registry", "events.raw"),
)  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_table_says_and_no_more(pipeline: Pipeline, secured: Secured, role: str) -> None:
    """Of every topic, the broker lets a role read and write exactly where the table names it."""
    deployment = reached(pipeline.deployment, secured.env(role))
    table = deployment.table()

    async def ask() -> dict[str, frozenset[str]]:
        async with clients.admin(deployment.settings) as admin:
            return await rights.on_topics(admin, [topic.name for topic in table])

    found = asyncio.run(ask())
    for topic in table:
        may = found.get(topic.name, frozenset())
        assert ("Write" in may) == (role in topic.written_by), topic.name
        assert ("Read" in may) == (role in topic.read_by or role == "operators"), topic.name
        assert ("Create" in may, "Delete" in may) == ((role == "operators"),) * 2, topic.name


@pytest.mark.parametrize(("role", "state", "told"), [
    ("scoring", "well", "has the access that scoring needs, not 3 other services'"),
    ("consumers", "look", "has no service's access; for cleaning: Kafka does not let"),
])  # fmt: skip
def test_the_doctor_tells_whose_access_a_user_has(
    pipeline: Pipeline, secured: Secured, role: str, state: str, told: str
) -> None:
    """A service's user is told from one that no service could run as, which is told what it lacks."""
    deployment = reached(pipeline.deployment, secured.env(role))
    found = asyncio.run(kafka(Patient(deployment.settings, deployment, {})))
    finding = next(finding for finding in found if finding.what == "access")
    assert (finding.state, told in finding.told) == (state, True), found


@pytest.mark.parametrize(("role", "stream"), WRITES)
def test_what_is_not_in_the_table_cannot_be_written(
    pipeline: Pipeline, secured: Secured, role: str, stream: str
) -> None:
    """The broker refuses a record of somebody whom the table does not name as a writer."""
    deployment = reached(pipeline.deployment, secured.env(role))

    async def write() -> None:
        producer = AIOKafkaProducer(**deployment.settings.kafka())
        await producer.start()
        try:
            await producer.send_and_wait(deployment.topic(stream), b"forged", partition=0)
        finally:
            await clients.close_producer(producer)

    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(write())


@pytest.mark.parametrize(("role", "stream"), READS)
def test_what_is_not_in_the_table_cannot_be_read(pipeline: Pipeline, secured: Secured, role: str, stream: str) -> None:
    """The broker gives no record to somebody whom the table does not name as a reader."""
    deployment = reached(pipeline.deployment, secured.env(role))

    async def read() -> None:
        async with asyncio.timeout(60):
            async for record in follow.records(deployment.settings, deployment.topic(stream), last=None, follow=False):
                raise AssertionError(record)

    with pytest.raises((AccessError, TopicAuthorizationFailedError), match=deployment.topic(stream)):
        asyncio.run(read())


def test_nobody_fences_another_service(pipeline: Pipeline, secured: Secured) -> None:
    """Who writes no examples cannot take the transactional ids of training either, nor join its group."""
    settings = reached(pipeline.deployment, secured.env("scoring")).settings
    group = f"{pipeline.deployment.name}.learner.train"

    async def fence() -> None:
        producer = clients.transactional_producer(settings, f"{group}-0-0")
        try:
            await producer.start()
        finally:
            await clients.close_producer(producer)

    async def join() -> None:
        member = clients.member(settings, group, LaneAssignor(dict), None)
        member.subscribe([pipeline.deployment.topic("models")])
        try:
            async with asyncio.timeout(60):
                await member.start()
                while True:  # the refusal is raised by what is asked after the coordinator has told it
                    await member.getmany(timeout_ms=500)
        finally:
            await member.stop()

    for attempt, lacking in ((fence, "Write on transactional id"), (join, "Read on group")):
        assert lacking in str(explained(failure(attempt), settings))


def failure(attempt: Callable[[], Coroutine[None, None, None]]) -> KafkaError:
    with pytest.raises(KafkaError) as caught:
        asyncio.run(attempt())
    return caught.value


@dataclass(frozen=True)
class Lacking:
    """What is left out of cleaning's access, and what its one line must say (after the pipeline's name)."""

    without: Callable[[Acl, str], bool]
    says: str
    topics: bool = True


LACKING = {
    "everything": Lacking(lambda *_: True, "Describe on topic {}.events.clean"),
    "shapes": Lacking(lambda _, operation: operation == "DescribeConfigs", "DescribeConfigs on topic {}.deadletter"),
    "one-topic": Lacking(lambda it, _: it.name.endswith(".deadletter"), "it lacks Write on topic {}.deadletter. "),
    "group": Lacking(lambda it, _: it.resource == "group", "it lacks Read on group {}.cleaning.*. "),
    "transactions": Lacking(
        lambda it, _: it.resource == "transactional-id", "it lacks Write on transactional-id {}.cleaning.*. "
    ),
    "topics": Lacking(lambda *_: False, "do not exist, and Kafka does not let us make them", topics=False),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_a_service_lacks_is_told_in_one_line(secured: Secured, tmp_path: Path, case: str) -> None:
    """A service whose access lacks something ends with exit code 2 and one line that names topic and operation."""
    lacking = LACKING[case]
    deployment = prepared(secured, tmp_path, lacking)
    ended = run(
        ["services.cleaning", "--pipeline", str(tmp_path / "pipeline.toml")],
        secured.env("cleaning") | {"RIVERMILL_SIGNING_KEY": KEY, "RIVERMILL_DATA_DIR": str(tmp_path)},
    )
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert lacking.says.format(deployment.name) in ended.stderr


def prepared(secured: Secured, folder: Path, lacking: Lacking) -> Deployment:
    """A pipeline with its topics, whose cleaning may do all but what is left out."""
    made = deployed(folder / "pipeline.toml", file(fresh_name("lacking")), secured.by_password["RIVERMILL_BROKER"])
    deployment = reached(made, secured.by_password)
    entries = [
        msgspec.structs.replace(it, operations=tuple(each for each in it.operations if not lacking.without(it, each)))
        for it in printed(deployment)
    ]

    async def prepare() -> None:
        await allow(deployment.settings, entries)
        if lacking.topics:
            await deployment.ensure_topics()

    asyncio.run(prepare())
    return deployment


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_refused_write_is_told_whatever_is_sent_after_it(pipeline: Pipeline, secured: Secured, after: int) -> None:
    """Sends that find no transaction open any more are no sign of another owner: the refusal that ended it is told."""
    deployment = reached(pipeline.deployment, secured.env("cleaning"))
    refused, allowed = deployment.topic("predictions"), deployment.topic("deadletter")
    batches = [Out(None, bytes(2_000_000), 0)] * after

    async def publish() -> None:
        owner = await ExactlyOnce.open(deployment.settings, f"{deployment.name}.cleaning.refused", 0)
        try:
            with pytest.raises(RefusedError, match=f"Write on topic {refused}$"):
                await owner.publish({(refused, 0): [Out(None, b"no", 0)], (allowed, 0): batches}, {})
        finally:
            await owner.close()

    asyncio.run(publish())


def test_access_that_is_taken_away_ends_a_service(secured: Secured, tmp_path: Path) -> None:
    """Cleaning, by password and without TLS, works as long as it may, and says what it may not do any more."""
    env = secured.in_the_clear | {"RIVERMILL_SASL_USERNAME": PRINCIPAL.removeprefix("User:").format(role="cleaning")}
    with Pipeline(tmp_path, env["RIVERMILL_BROKER"], file(fresh_name("taken"))) as pipeline:
        superuser = pipeline.deployment = reached(pipeline.deployment, secured.by_password)
        entries = printed(superuser)
        stream = Load("s")

        async def work() -> None:
            await send(superuser, superuser.events_topic, stream.portion(EVENTS)[0])

        async def cleaned() -> bool:
            return (await pipeline.totals()).get("clean", {}).get("events") == EVENTS

        asyncio.run(superuser.ensure_topics())
        asyncio.run(allow(superuser.settings, entries))
        pipeline.start("cleaning", **env)
        pipeline.wait_ready()
        asyncio.run(work())
        asyncio.run(until(cleaned, f"every event clean; {pipeline.last_words('cleaning')}"))
        clean = superuser.topic("events.clean")
        asyncio.run(forbid(superuser.settings, [it for it in entries if it.name == clean and "Write" in it.operations]))
        asyncio.run(work())
        assert pipeline.processes["cleaning"].running.wait(timeout=60) == 2, pipeline.last_words("cleaning")
        assert f"Write on topic {clean}" in pipeline.last_words("cleaning")
