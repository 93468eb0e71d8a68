"""Whole pipelines for tests: a pipeline file, the services as processes, a stream of raw records, and what is read."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec
from aiokafka.admin import NewTopic

from services.cli import topic_batches
from services.cli.account import Account, account, stage_totals
from services.cli.loopback import free_port
from services.cli.positions import checkpoints
from services.cli.settle import offsets_produced
from services.cli.watchdog import Watchdog
from services.runtime import clients, readback, topics
from services.runtime.launch import Deployment, load
from services.runtime.registry_client import RegistryClient
from services.runtime.settings import Settings

KEY = "a-signing-key-for-tests"
PARTITIONS = 4
ANSWER_S = 60.0
"""Of a process that works; httpx would give up after five seconds, which are few where two cores are busy."""
_T = TypeVar("_T")

FILE = """
[pipeline]
name = "{name}"
task = "binary"
[topics]
partitions = 4
[event]
{event}
id = "id"
time = "at"
clock = "replay"
[label]
{label}
id = "id"
value = "late"
time = "known_at"
horizon = "2h"
[features.x]
type = "number"
range = [-100, 100]
outside = "clip"
missing = "mean"
[features.y]
type = "number"
missing = 0.0
[features.vip]
type = "boolean"
missing = false
[features.color]
type = "category"
case = "lower"
missing = "unknown"
{features}
[[encodings]]
by = []
half_life = [50]
as = "logit"
[[encodings]]
by = ["color"]
half_life = [50]
as = "logit"
[[model.candidates]]
name = "first"
model = "logistic_regression"
optimizer = "adagrad"
learning_rate = 0.03
[[model.candidates]]
name = "second"
model = "logistic_regression"
optimizer = "sgd"
learning_rate = 0.01
{candidates}
[snapshots]
every_examples = {every_examples}
every = "1s"
live_every = "50ms"
[drift]
block = {{ events = 500, at_least = "1m", at_most = "6h" }}
"""


def fresh_name(stem: str) -> str:
    """A pipeline name that no other test has."""
    return f"t{secrets.token_hex(4)}-{stem}"


def file(
    name: str, *, event: str = "", label: str = "", features: str = "", candidates: str = "", every_examples: int = 1000
) -> str:
    """The text of a pipeline file with two linear candidates; each argument is TOML added to its table."""
    return FILE.format(
        name=name, event=event, label=label, features=features, candidates=candidates, every_examples=every_examples
    )


def deployed(path: Path, text: str, broker: str, registry_url: str = Settings.registry_url) -> Deployment:
    """Write the pipeline file, and say where it runs."""
    path.write_text(text, encoding="utf-8")
    settings = Settings(broker=broker, registry_url=registry_url, signing_key=KEY.encode(), data_dir=path.parent)
    return Deployment(load(path), settings)


@dataclass
class Process:
    """One process, and how it is started again."""

    arguments: Sequence[str]
    env: Mapping[str, str]
    url: str
    log: Path
    running: subprocess.Popen[bytes]


class Pipeline:
    """The processes of one pipeline; leaving the block ends them all.

    ``deployment`` is what the tests themselves reach broker and registry by.
    """

    def __init__(self, folder: Path, broker: str, text: str) -> None:
        self.path = folder / "pipeline.toml"
        self._registry_port = free_port()
        self.deployment = deployed(self.path, text, broker, f"http://127.0.0.1:{self._registry_port}")
        self.processes: dict[str, Process] = {}
        self._folder = folder
        self._watchdog = Watchdog()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            process.running.kill()
        for process in self.processes.values():
            process.running.wait()
        self._watchdog.dismiss()

    def start(
        self, service: str, name: str | None = None, arguments: Sequence[str] = (), module: str = "", **env: str
    ) -> None:
        """Start a service with a stable slot; ``name`` tells two of one service apart, ``module`` runs in its stead."""
        name = name or service
        port = self._registry_port if service == "registry" else free_port()
        own = ["--port", str(port)] if service == "registry" else ["--pipeline", str(self.path), *arguments]
        settings = self.deployment.settings
        full = {
            **os.environ, "RIVERMILL_BROKER": settings.broker, "RIVERMILL_REGISTRY_URL": settings.registry_url,
            "RIVERMILL_SIGNING_KEY": KEY, "RIVERMILL_DATA_DIR": str(self._folder / "data" / name),
            "RIVERMILL_SLOT": name, "RIVERMILL_WEB_PORT": str(port), **env,
        }  # fmt: skip
        command = [sys.executable, "-m", module or f"services.{service}", *own]
        log = self._folder / f"{name}.log"
        running = self._spawn(command, full, log)
        self.processes[name] = Process(command, full, f"http://127.0.0.1:{port}", log, running)

    def _spawn(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                process_group=self._watchdog.group,
            )  # fmt: skip

    def start_all(self) -> None:
        """The registry and the four Kafka services, and wait until all are ready."""
        for service in ("registry", "cleaning", "scoring", "learner", "drift"):
            self.start(service)
        self.wait_ready()

    def wait_ready(self, *names: str, within: float = 150) -> None:
        """Wait until these processes (all, if none is named) answer that they are ready."""
        deadline = time.monotonic() + within
        waiting = set(names or self.processes)
        with httpx.Client(timeout=5, trust_env=False) as client:
            while waiting:
                for name in tuple(waiting):
                    process = self.processes[name]
                    code = process.running.poll()
                    assert code is None, f"{name} ended (exit code {code}): {self.last_words(name)}"
                    if _answers(client, process.url):
                        waiting.discard(name)
                assert time.monotonic() < deadline, "\n".join(f"{it}: {self.last_words(it)}" for it in waiting)
                time.sleep(0.05)

    def kill(self, name: str) -> None:
        """End a process at once, as a power cut would."""
        process = self.processes[name].running
        process.send_signal(signal.SIGKILL)
        process.wait()

    def terminate(self, name: str) -> int:
        """Ask a process to end; its exit code."""
        self.processes[name].running.terminate()
        return self.processes[name].running.wait(timeout=15)

    def restart(self, name: str) -> None:
        """Start a process that has ended once more, as it was."""
        process = self.processes[name]
        process.running = self._spawn(process.arguments, process.env, process.log)

    def last_words(self, name: str) -> str:
        """The end of a process's log, for the message of a test that fails."""
        return self.processes[name].log.read_text(encoding="utf-8", errors="replace")[-1500:]

    def rewrite(self, text: str) -> None:
        """Change the pipeline file: what is started from now on runs under it."""
        settings = self.deployment.settings
        self.deployment = deployed(self.path, text, settings.broker, settings.registry_url)

    def registry(self, actor: str = "tests", token: str | None = None) -> RegistryClient:
        """A client of the registry."""
        return RegistryClient(self.deployment.settings.registry_url, token=token, actor=actor)

    async def totals(self) -> dict[str, dict[str, int]]:
        """The totals of every stage, as checkpointed now."""
        return stage_totals(await checkpoints(self.deployment))

    async def settle(self, within: float = 120) -> Account:
        """Wait until every equation of the account holds, and draw it up; the test fails if some never does."""
        produced = await offsets_produced(self.deployment)
        drawn = account(self.deployment.name, await self.totals(), produced)
        deadline = time.monotonic() + within
        while not drawn.balanced:
            assert time.monotonic() < deadline, [it for it in drawn.equations if it.difference]
            await asyncio.sleep(0.1)
            drawn = account(self.deployment.name, await self.totals(), produced)
        return drawn

    async def records(self, stream: str) -> list[Any]:
        """All committed records of a stream of this pipeline, partition by partition."""
        return await records(self.deployment, self.deployment.topic(stream))

    async def decoded(self, stream: str, kind: type[_T]) -> list[_T]:
        """The values of :meth:`records`."""
        decode = msgspec.json.Decoder(kind).decode
        return [decode(record.value) for record in await self.records(stream)]


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").is_success
    except httpx.HTTPError:
        return False


async def records(deployment: Deployment, topic: str) -> list[Any]:
    """All committed records of a topic, partition by partition."""
    async with clients.admin(deployment.settings) as admin:
        counts = await topics.partition_counts(admin, [topic])
    return [
        record
        for partition in range(counts[topic])
        async for batch in readback.everything(deployment.settings, topic, partition)
        for record in batch
    ]


async def make_topics(deployment: Deployment, partitions: Mapping[str, int], **config: str) -> None:
    """Create topics of a producer's own."""
    async with clients.admin(deployment.settings) as admin:
        made = await admin.create_topics(
            [NewTopic(name, count, 1, topic_configs=config) for name, count in partitions.items()]
        )
    assert not any(error[1] for error in made.topic_errors), made


async def send(deployment: Deployment, topic: str, keyed: Sequence[topic_batches.Keyed]) -> None:
    """Produce records, placed by their keys as Kafka's default partitioner would, and wait for them."""
    producer = await topic_batches.started(deployment.settings.kafka())
    try:
        batches = topic_batches.TopicBatches(producer, topic)
        await batches.open()
        for start in range(0, len(keyed), 1000):
            await batches.send(keyed[start : start + 1000])
        await batches.drain()
    finally:
        await producer.stop()


async def until(condition: Callable[[], Awaitable[bool]], what: str, within: float = 60) -> None:
    """Wait for a condition; the test fails with ``what`` if it does not come true."""
    try:
        async with asyncio.timeout(within):
            while not await condition():  # noqa: ASYNC110 - what is waited for happens in Kafka
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {within:g} s in vain: {what}") from None
