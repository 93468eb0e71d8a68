"""A whole pipeline on this machine: broker, topics, registry and the four Kafka services, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import httpx

from schemas.topics import SERVICES
from services.cli import broker_background, loopback, running
from services.cli.broker import Broker
from services.cli.child import STEADY_S, Child, Command
from services.cli.watchdog import Watchdog
from services.runtime.ending import USER_ERROR
from services.runtime.launch import Deployment, load
from services.runtime.settings import DEFAULT_PORTS, Settings, SettingsError, from_environment

REGISTRY_PORT, BROKER_PORT = 8080, 9092
_STOP_S, _STAGGER_S = 10.0, 0.2
_REGISTRY_STOP_S, _BROKER_STOP_S = 0.5, 2.5
"""What is left at least for those that are stopped last: a broker that is killed has its logs to check at its start."""
_READY_EVERY_S, _BROKER_WATCH_S = 0.1, 1.0


class StartError(SettingsError):
    """Something did not come up, or ended for good: which, its own last words, and where its log is."""


class Supervisor:
    """Starts everything that one pipeline needs, starts again what dies, and stops it all.

    ``broker`` is a Kafka to use (host:port); without one, that of RIVERMILL_BROKER, or else the embedded broker on
    ``data_dir``. ``processes`` is how many of each Kafka service to run. ``usual_ports`` takes 9092, 8080 and 9101 to
    9104 where they are free. ``say`` gets one line for a person at a time. ``service_env`` is for the Kafka services
    alone; one that ran for ``steady_s`` is restarted without delay (:class:`Child`). After :meth:`start`: ``deployment``
    (with the settings to reach the broker and the registry), ``endpoints`` (base URL by process), ``pids``, ``restarts``.
    """

    def __init__(
        self,
        pipeline: Path,
        data_dir: Path,
        *,
        broker: str | None = None,
        processes: int = 1,
        env: Mapping[str, str] = os.environ,
        usual_ports: bool = False,
        say: Callable[[str], None] = lambda _: None,
        service_env: Mapping[str, str] | None = None,
        steady_s: float = STEADY_S,
    ) -> None:
        self.pipeline = pipeline.absolute()
        self.data_dir = data_dir.absolute()
        self.spec = load(pipeline)
        self.children: dict[str, Child] = {}
        self.broker: Broker | None = None
        self._address = broker or env.get("RIVERMILL_BROKER")
        self._processes = processes
        self._env = dict(env)
        self._usual = usual_ports
        self._service_env = dict(service_env or {})
        self._steady_s = steady_s
        self.say = say
        self._held = ExitStack()
        self._watchdog: Watchdog | None = None
        self._broker_watch: asyncio.Task[None] | None = None
        self._given_up = asyncio.Event()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, the embedded broker's among them."""
        found = {name: child.pid for name, child in self.children.items() if child.pid is not None}
        if self.broker is not None and self.broker.process is not None and self.broker.running:
            found["broker"] = self.broker.process.pid
        return found

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        return {name: child.restarts for name, child in self.children.items()}

    @property
    def endpoints(self) -> dict[str, str]:
        """Where each process answers HTTP: ``/metrics``, ``/healthz``, ``/readyz``."""
        return {name: child.command.url for name, child in self.children.items()}

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.data_dir / "logs" / f"{name}.log"

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one process, as a fault would."""
        self.children[name].signal(number)

    def add(self, service: str, number: int) -> None:
        """Start one more process of a Kafka service, its ``number``-th from 0 on."""
        self._add(self._service(service, number))

    async def remove(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a process for good, by this signal first."""
        await self.children[name].stop(_STOP_S, number)
        del self.children[name]

    async def ready(self, *names: str, within: float = 90.0) -> None:
        """Wait until these processes answer that they are ready; StartError says which does not."""
        await self._ready(time.monotonic() + within, names)

    async def start(self, within: float = 90.0) -> None:
        """Start everything and return once all of it is ready; StartError says what is not."""
        self._held.enter_context(running.locked(self.data_dir))
        if self._address is None:
            await self._start_broker()
        env = {**self._env, "RIVERMILL_DATA_DIR": str(self.data_dir), "RIVERMILL_BROKER": str(self._address)}
        env |= running.signing_key(self.data_dir, self._env)
        registry = self._port(REGISTRY_PORT)
        env["RIVERMILL_REGISTRY_URL"] = f"http://{Settings.bind}:{registry}"
        self.deployment = Deployment(self.spec, from_environment(env))
        self.say("topics")
        await self.deployment.prepare()
        self._watchdog = Watchdog()
        deadline = time.monotonic() + within
        self._add(Command("registry", _registry(registry), env, env["RIVERMILL_REGISTRY_URL"]))
        self._service_env = env | self._service_env
        for number in range(self._processes):
            for service in SERVICES:
                self.add(service, number)
        await self._ready(deadline, self.children)
        found = running.Running(
            os.getpid(), str(self.pipeline), str(self._address), env["RIVERMILL_REGISTRY_URL"], self.endpoints
        )
        running.tell(self.data_dir, found)

    async def stop(self) -> None:
        """Stop everything within 10 s: cleaning, scoring, learner, drift, then the registry, then the broker.

        Each may take what is left of that, but for what those after it need.
        """
        broker_at = time.monotonic() + _STOP_S - (_BROKER_STOP_S if self.broker is not None else 0)
        if self._broker_watch is not None:
            self._broker_watch.cancel()
        stops: list[asyncio.Task[None]] = []
        for name, child in self.children.items():
            if name != "registry":
                stops.append(asyncio.create_task(child.stop(_left(broker_at) - _REGISTRY_STOP_S)))
                await asyncio.wait(stops[-1:], timeout=_STAGGER_S)
        await asyncio.gather(*stops)
        if "registry" in self.children:
            await self.children["registry"].stop(_left(broker_at))
        if self.broker is not None:
            await asyncio.to_thread(self.broker.stop, _BROKER_STOP_S + _left(broker_at))
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None
        self._held.close()

    async def watch(self) -> NoReturn:
        """Wait until a process has ended with what only the user can put right: StartError has its own words."""
        await self._given_up.wait()
        self._require_none_given_up()
        raise AssertionError("a process that is given up has said so")

    def _require_none_given_up(self) -> None:
        for name, child in self.children.items():
            if child.exit_code == USER_ERROR:
                raise StartError(f"{name} cannot run: {child.last_words()} (log: {self.log(name)})")

    async def _start_broker(self) -> None:
        directory = self.data_dir / "broker"
        if (address := broker_background.address(directory)) is not None:
            self._address = address
            return
        known = (directory / "server.properties").exists()
        self.broker = Broker(directory, port=0 if known else self._port(BROKER_PORT), env=self._env)
        self._address = await asyncio.to_thread(self.broker.start, self.say)
        self._broker_watch = asyncio.create_task(self._keep_broker(self.broker), name="broker watch")

    async def _keep_broker(self, broker: Broker) -> None:
        while True:
            await asyncio.sleep(_BROKER_WATCH_S)
            if not broker.running:
                self.say(f"the broker ended (log: {broker.log}); restarts")
                try:
                    await asyncio.to_thread(broker.start, self.say)
                except RuntimeError as error:
                    self.say(str(error))

    def _port(self, usual: int) -> int:
        return loopback.free_port(usual if self._usual else 0)

    def _service(self, service: str, number: int) -> Command:
        port = self._port(DEFAULT_PORTS[service] if number == 0 else 0)
        return Command(
            service if number == 0 else f"{service}-{number + 1}",
            [sys.executable, "-m", f"services.{service}", "--pipeline", str(self.pipeline)],
            {**self._service_env, "RIVERMILL_SLOT": f"up-{number}", "RIVERMILL_WEB_PORT": str(port)},
            f"http://{Settings.bind}:{port}",
        )

    def _add(self, command: Command) -> None:
        if self._watchdog is None:
            raise RuntimeError("the supervisor is not started")
        child = Child(
            command, self.log(command.name), self._watchdog.group, self._tell, steady_s=self._steady_s,
            given_up=self._given_up,
        )  # fmt: skip
        self.children[command.name] = child
        child.start()

    def _tell(self, line: str) -> None:
        self.say(line)

    async def _ready(self, deadline: float, names: Iterable[str]) -> None:
        waiting = list(names)
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while waiting:
                self._require_none_given_up()
                for name in list(waiting):
                    if await _answers(client, self.children[name].command.url):
                        self.say(f"{name} is ready")
                        waiting.remove(name)
                if waiting and time.monotonic() > deadline:
                    words = "; ".join(f"{name}: {self.children[name].last_words()}" for name in waiting)
                    raise StartError(f"not ready in time: {words} (logs: {self.data_dir / 'logs'})")
                await asyncio.sleep(_READY_EVERY_S)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _registry(port: int) -> list[str]:
    return [sys.executable, "-m", "services.registry", "--port", str(port)]


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).is_success
    except httpx.HTTPError:
        return False
