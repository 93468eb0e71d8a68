"""What a user can get wrong around a pipeline: each is told in one clear line, with a non-zero exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from services.cli.broker import Broker
from services.runtime import clients
from services.runtime.clients import BrokerAwayError
from services.runtime.launch import Deployment
from services.runtime.settings import Settings
from services.runtime.topics import partition_counts
from tests.integration.pipelines import KEY, Pipeline, deployed, file, fresh_name, make_topics, until


@dataclass(frozen=True)
class Wrong:
    """A process, what is wrong with what it is given, and words that its one line must have.

    ``edit`` replaces one text of the pipeline file by another; ``arguments`` replace those of the service. ``code`` is 1
    where another start may find it mended.
    """

    service: str
    says: Sequence[str]
    edit: tuple[str, str] = ("", "")
    env: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    code: int = 2


NAMED = '[pipeline]\nname = "'
WRONG = {
    "no-pipeline-file": Wrong("cleaning", ["nowhere.toml", "cannot be read"], arguments=["--pipeline", "nowhere.toml"]),
    "no-toml": Wrong("cleaning", [".toml:2:", "']'"], edit=("[pipeline]", "[pipeline")),
    "unknown-key": Wrong("scoring", ["evry", "did you mean `every`"], edit=("\nevery =", "\nevry =")),
    "no-broker-address": Wrong("cleaning", ["RIVERMILL_BROKER", "host:port"], env={"RIVERMILL_BROKER": "kafka"}),
    "nobody-there": Wrong("drift", ["127.0.0.1:1 ", "RIVERMILL_BROKER"], env={"RIVERMILL_BROKER": "127.0.0.1:1"}, code=1),
    "no-signing-key": Wrong("learner", ["RIVERMILL_SIGNING_KEY is not set"], env={"RIVERMILL_SIGNING_KEY": ""}),
    "no-verifying-key": Wrong("scoring", ["RIVERMILL_SIGNING_KEY is not set"], env={"RIVERMILL_SIGNING_KEY": ""}),
    "short-key": Wrong("learner", ["RIVERMILL_SIGNING_KEY", "at least 16"], env={"RIVERMILL_SIGNING_KEY": "short"}),
    "registry-url": Wrong("scoring", ["RIVERMILL_REGISTRY_URL", "http://"], env={"RIVERMILL_REGISTRY_URL": "there"}),
    "delivery": Wrong("cleaning", ["RIVERMILL_DELIVERY", "at_least_once"], env={"RIVERMILL_DELIVERY": "maybe"}),
    "partitions": Wrong("cleaning", ["has 4 partitions", "wants 5"], edit=("partitions = 4", "partitions = 5")),
    "no-such-topic": Wrong("cleaning", ["'orders'", "does not exist"], edit=("[event]", '[event]\ntopic = "orders"')),
    "retention": Wrong(
        "learner", ["predictions", "less than the label horizon"], edit=(NAMED, f"{NAMED}short-"),
    ),
    "stamps": Wrong(
        "cleaning", ["events.raw", "message.timestamp.type", "LogAppendTime"], edit=(NAMED, f"{NAMED}stamps-"),
    ),
    "message-size": Wrong(
        "scoring", ["predictions", "takes messages of 1000 bytes", "max.message.bytes"], edit=(NAMED, f"{NAMED}narrow-"),
    ),
    "open-registry": Wrong("registry", ["RIVERMILL_REGISTRY_TOKEN"], arguments=["--host", "::", "--port", "0"]),
    "database": Wrong(
        "registry", ["RIVERMILL_REGISTRY_DATABASE"], env={"RIVERMILL_REGISTRY_DATABASE": "mysql://x"},
        arguments=["--port", "0"],
    ),
    "no-database": Wrong(
        "registry", ["postgresql+psycopg://127.0.0.1:1/x", "Connection refused", "RIVERMILL_REGISTRY_DATABASE"],
        env={"RIVERMILL_REGISTRY_DATABASE": "postgresql://127.0.0.1:1/x"}, arguments=["--port", "0"], code=1,
    ),
    "data-directory": Wrong(
        "cleaning", ["the data directory", "RIVERMILL_DATA_DIR"], env={"RIVERMILL_DATA_DIR": f"{__file__}/below"},
    ),
    "registry-data-directory": Wrong(
        "registry", [f"{__file__}/below", "RIVERMILL_DATA_DIR"], env={"RIVERMILL_DATA_DIR": f"{__file__}/below"},
        arguments=["--port", "0"],
    ),
    "blobs": Wrong(
        "registry", ["RIVERMILL_BLOBS is 'ftp://x'", "s3://"], env={"RIVERMILL_BLOBS": "ftp://x"}, arguments=["--port", "0"],
    ),
    "no-blob-store": Wrong(
        "registry", ["RIVERMILL_BLOBS is 's3://bucket/prefix'", "127.0.0.1:1/bucket", "error sending request"],
        arguments=["--port", "0"], env={
            "RIVERMILL_BLOBS": "s3://bucket/prefix", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "nowhere", "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "a secret",
        },
    ),
    "blobs-in-memory": Wrong(
        "registry", ["RIVERMILL_BLOBS is 'memory://'", "keeps nothing"], env={"RIVERMILL_BLOBS": "memory://"},
        arguments=["--port", "0"],
    ),
    "blobs-of-a-web-server": Wrong(
        "registry", ["RIVERMILL_BLOBS is 'https://x'", "s3://"], env={"RIVERMILL_BLOBS": "https://x"},
        arguments=["--port", "0"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ended(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[int | None, str]]:
    """Exit code and standard error of every wrong start, all run side by side; None: it had to be ended."""
    folder = tmp_path_factory.mktemp("wrong")
    name = fresh_name("wrong")
    asyncio.run(prepare(deployed(folder / "right.toml", file(name), broker)))
    running = {case: start(wrong, folder, name, broker, case) for case, wrong in WRONG.items()}
    return {case: outcome(process) for case, process in running.items()}


async def prepare(right: Deployment) -> None:
    """The topics as they should be, and for three other pipelines a topic as it should not."""
    await right.ensure_topics()
    await make_topics(right, {f"short-{right.name}.predictions": 4}, **{"retention.ms": "60000"})
    await make_topics(right, {f"stamps-{right.name}.events.raw": 4})
    await make_topics(right, {f"narrow-{right.name}.predictions": 4}, **{"max.message.bytes": "1000"})


def start(wrong: Wrong, folder: Path, name: str, broker: str, case: str) -> subprocess.Popen[str]:
    path = folder / f"{case}.toml"
    path.write_text(file(name).replace(*wrong.edit) if any(wrong.edit) else file(name), encoding="utf-8")
    env = {
        **os.environ, "RIVERMILL_BROKER": broker, "RIVERMILL_SIGNING_KEY": KEY,
        "RIVERMILL_DATA_DIR": str(folder / case), "PYTHONFAULTHANDLER": "1", **wrong.env,
    }  # fmt: skip
    arguments = wrong.arguments or ["--pipeline", str(path)]
    command = [sys.executable, "-m", f"services.{wrong.service}", *arguments]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> tuple[int | None, str]:
    try:
        _, error = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it tells where it waits
        return None, process.communicate()[1]
    return process.returncode, error


@pytest.mark.parametrize("case", list(WRONG))
def test_a_wrong_start_is_told_in_one_line(ended: Mapping[str, tuple[int | None, str]], case: str) -> None:
    """The process ends with its exit code and one line that names what is wrong and what was expected."""
    code, error = ended[case]
    assert code == WRONG[case].code, error
    assert error.count("\n") == 1, error
    assert error.startswith(f"{WRONG[case].service}: ")
    for words in WRONG[case].says:
        assert words in error


@pytest.mark.parametrize("command", ["up {}", "demo", "topics {} --create", "status {}", "broker start"])
def test_a_data_directory_that_cannot_be_used_is_told(tmp_path: Path, command: str) -> None:
    """Every command ends with exit code 2 and one line on a data directory below a file, whatever it wanted there."""
    path = tmp_path / "pipeline.toml"
    path.write_text(file(fresh_name("below")), encoding="utf-8")
    env = {**os.environ, "RIVERMILL_DATA_DIR": str(path / "below"), "RIVERMILL_BROKER": "127.0.0.1:1"}
    words = [sys.executable, "-m", "services.cli", *command.format(path).split()]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_broker_that_never_answers_is_told_soon(tmp_path: Path) -> None:
    """Somebody who takes connections and says nothing is told in one line, before a client's own limit has passed."""
    path = tmp_path / "pipeline.toml"
    path.write_text(file(fresh_name("mute")), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        env = {**os.environ, "RIVERMILL_BROKER": address}
        command = [sys.executable, "-m", "services.drift", "--pipeline", str(path)]
        done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, check=False, timeout=20)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"{address} cannot be used: it does not answer" in done.stderr


async def ask_after(broker: Broker, ask: Callable[[AIOKafkaAdminClient], Awaitable[object]]) -> None:
    """Kill the broker, then ask it something."""
    async with clients.admin(Settings(broker=broker.address)) as admin:
        await asyncio.to_thread(broker.kill)
        await ask(admin)


def test_a_broker_that_goes_away_while_it_is_asked_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broker that dies while its topics are looked at is one error that names it and what to do, and no log line."""
    with Broker(tmp_path) as broker, pytest.raises(BrokerAwayError) as told:
        asyncio.run(ask_after(broker, lambda admin: partition_counts(admin, ["orders"])))
    assert broker.address in str(told.value)
    assert "refuses connections: check that it runs" in str(told.value)
    assert not caplog.records


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """A registry whose port another process has ends with a non-zero exit code and says which port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {**os.environ, "RIVERMILL_DATA_DIR": str(tmp_path), "RIVERMILL_BROKER": ""}
        command = [sys.executable, "-m", "services.registry", "--port", port]
        done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert port in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def pipeline(broker: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Nothing started yet."""
    with Pipeline(tmp_path, broker, file(fresh_name("token"))) as made:
        yield made


def test_a_wrong_registry_token_ends_the_learner(pipeline: Pipeline) -> None:
    """A learner whose versions the registry does not take ends with exit code 2; its last line names the token."""
    pipeline.start("registry", RIVERMILL_REGISTRY_TOKEN="the-right-token")
    pipeline.wait_ready()
    pipeline.start("learner", arguments=("--role", "train"), RIVERMILL_REGISTRY_TOKEN="another-token")
    assert "RIVERMILL_REGISTRY_TOKEN" in last_error(pipeline, "learner")


def test_a_web_server_that_is_no_registry_ends_the_learner(pipeline: Pipeline) -> None:
    """A learner whose registry's URL is that of another server ends with exit code 2; its last line names the setting."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # 501 to whatever it is asked
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        pipeline.start("learner", arguments=("--role", "train"), RIVERMILL_REGISTRY_URL=url)
        try:
            told = last_error(pipeline, "learner")
        finally:
            server.shutdown()
    assert "check RIVERMILL_REGISTRY_URL" in told
    assert url in told


def last_error(pipeline: Pipeline, name: str) -> str:
    """Why a process ended with exit code 2: in its last line, once, and without a traceback."""
    assert pipeline.processes[name].running.wait(60) == 2
    lines = [json.loads(line) for line in pipeline.processes[name].log.read_text(encoding="utf-8").splitlines()]
    told = [line for line in lines if line["level"] in {"error", "critical"}]
    assert [line["event"] for line in told].count("service ends") == 1
    assert "exception" not in told[-1]
    assert lines[-1] == told[-1]
    return str(told[-1]["error"])


def test_foreign_topics_may_have_any_shape(pipeline: Pipeline) -> None:
    """A producer's own topic of one partition is no error: cleaning gets ready on it."""
    name = f"{pipeline.deployment.name}-orders"
    asyncio.run(make_topics(pipeline.deployment, {name: 1}))
    pipeline.rewrite(file(pipeline.deployment.name, event=f'topic = "{name}"'))
    pipeline.start("cleaning")
    pipeline.wait_ready()
    asyncio.run(until(lambda: started(pipeline), "the service to say so"))


async def started(pipeline: Pipeline) -> bool:
    return "lane runs" in pipeline.last_words("cleaning")
