"""The embedded broker: Apache Kafka itself, one node in KRaft mode on the loopback address.

It is what the demo, ``rivermill up`` without a broker and the integration tests run on; production is any Kafka.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from services.cli.broker_directory import (
    BrokerError,
    answers,
    escaped,
    fenced,
    format_directory,
    in_use,
    ports,
    ports_before,
    ran_before,
)
from services.cli.broker_process import BrokerProcess
from services.cli.jars import JarsError, jars
from services.cli.java import JavaError, find_java
from services.cli.loopback import HOST

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0
_EXCEPTION = re.compile(r"(Caused by: )?[\w.$]+(Exception|Error): ")
_LOG4J = Path(__file__).parent / "resources" / "log4j2.properties"
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "min.insync.replicas": "1",
    "group.initial.rebalance.delay.ms": "0",
    # It must never be without its partitions, see _FENCING: not when it stalls (a session of an hour), nor when it stops.
    "broker.session.timeout.ms": "3600000",
    "broker.heartbeat.interval.ms": "1000",
    "controlled.shutdown.enable": "false",
    "message.max.bytes": str(12 * 1024 * 1024),
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "4",
}
# What the controller runs with, alone, before a restart: the broker that was is fenced at once. A starting broker that
# has to fence its predecessor itself would take a committed transaction whose markers are not written yet for one of a
# deleted topic, and readers would stand in front of it for ever (KAFKA-20734).
_FENCING = {"process.roles": "controller", "broker.session.timeout.ms": "100", "broker.heartbeat.interval.ms": "50"}

Progress = Callable[[str], None]


class Broker:
    """One embedded Kafka broker and its data directory.

    ``port`` 0 takes the one of the last start on this directory, or a free one. ``extra_properties`` go into ``server.properties`` and win over the defaults;
    ``extra_listeners`` maps further listener names to their security protocol (``{"SECURE": "SASL_PLAINTEXT"}``), each
    on a free port of its own, told by ``addresses``. The broker ends with the process that started it, even if that
    is killed, unless ``detached``. Also a context manager.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        heap: str = "512m",
        extra_properties: Mapping[str, str] | None = None,
        extra_listeners: Mapping[str, str] | None = None,
        env: Mapping[str, str] = os.environ,
        detached: bool = False,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / "broker.log"
        self.addresses: dict[str, str] = {}
        self._out = self.data_dir / "broker.out"
        self._kafka: BrokerProcess | None = None
        self._port = port
        self._heap = heap
        self._extra = dict(extra_properties or {})
        self._protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(extra_listeners or {})}
        self._env = env
        self._detached = detached

    @property
    def address(self) -> str:
        """The bootstrap address, ``127.0.0.1:port``; known once started."""
        return self.addresses["PLAINTEXT"]

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The broker's process, once started."""
        return self._kafka.process if self._kafka is not None else None

    @property
    def running(self) -> bool:
        """Whether the broker's process lives."""
        return self._kafka is not None and self._kafka.running

    def start(self, progress: Progress = lambda _: None, timeout: float = START_TIMEOUT_S) -> str:
        """Start, wait until the broker answers, and return its bootstrap address; BrokerError if it cannot."""
        if self.running:
            return self.address
        if self._kafka is not None:
            self._kafka.reap()
        command = self._prepare(progress)
        progress("starting Apache Kafka")
        if ran_before(self.data_dir / "kafka"):
            self._fence_predecessor(command, timeout)
        server = [*command, str(self.data_dir / "server.properties")]
        self._kafka = BrokerProcess(server, self._env, self._out, detached=self._detached)
        try:
            self._await(self._kafka, lambda: answers(self.address), timeout)
        except BaseException:
            self.kill()
            raise
        progress(f"Apache Kafka answers at {self.address}")
        return self.address

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Stop cleanly; what still runs after ``timeout`` seconds is killed."""
        if self._kafka is not None:
            self._kafka.stop(timeout)

    def kill(self) -> None:
        """Kill with SIGKILL, as a crash would."""
        if self._kafka is not None:
            self._kafka.kill()

    def pause(self) -> None:
        """Freeze with SIGSTOP: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._kafka is not None:
            self._kafka.signal(number)

    def _fence_predecessor(self, command: list[str], timeout: float) -> None:
        """Let the controller alone take the partitions from the broker that ran here before, see _FENCING."""
        controller = BrokerProcess([*command, str(self.data_dir / "controller.properties")], self._env, self._out)
        try:
            self._await(controller, lambda: fenced(self.addresses["CONTROLLER"]), timeout)
        finally:
            controller.kill()

    def _prepare(self, progress: Progress) -> list[str]:
        """Find Java and Kafka, make the data directory ready, choose ports; the command, but for its properties."""
        try:
            java = find_java(self._env)
            class_path = jars(self._env, progress)
        except (JavaError, JarsError) as error:
            raise BrokerError(str(error)) from error
        if "," in str(self.data_dir):
            raise BrokerError(f"Kafka cannot use a directory with a comma in its name: {self.data_dir}")
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if in_use(self.data_dir / "kafka"):
                raise BrokerError(
                    f"a broker already runs on {self.data_dir}: stop it, or choose another data directory"
                )
            format_directory(self.data_dir / "kafka")
            chosen = ports(self._port, self._protocols, ports_before(self.data_dir / "server.properties"))
            self.addresses = {name: f"{HOST}:{port}" for name, port in chosen.items()}
            self._write("server.properties", self._properties())
            self._write("controller.properties", self._controller_properties())
        except OSError as error:
            raise BrokerError(
                f"the broker's data directory {self.data_dir} cannot be used: {error}; set RIVERMILL_DATA_DIR to another"
            ) from error
        return self._command(java, class_path)

    def _properties(self) -> dict[str, str]:
        listeners = {name: f"{name}://{address}" for name, address in self.addresses.items()}
        return {
            **_PROPERTIES,
            "log.dirs": str(self.data_dir / "kafka"),
            "controller.quorum.voters": f"1@{self.addresses['CONTROLLER']}",
            "listeners": ",".join(listeners.values()),
            "advertised.listeners": ",".join(each for name, each in listeners.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in self._protocols.items()),
            **self._extra,
        }

    def _controller_properties(self) -> dict[str, str]:
        shared = ("node.id", "controller.listener.names", "controller.quorum.voters", "log.dirs")
        return {
            **{name: value for name, value in self._properties().items() if name in shared},
            "listeners": f"CONTROLLER://{self.addresses['CONTROLLER']}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT",
            **_FENCING,
        }

    def _write(self, name: str, properties: Mapping[str, str]) -> None:
        text = "".join(f"{key}={escaped(value)}\n" for key, value in properties.items())
        (self.data_dir / name).write_text(text, encoding="ascii")

    def _command(self, java: str, class_path: list[Path]) -> list[str]:
        return [
            java,
            f"-Xmx{self._heap}",
            f"-Xms{self._heap}",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
            f"-Drivermill.broker.log={self.log}",
            "-cp",
            os.pathsep.join(map(str, class_path)),
            "kafka.Kafka",
        ]

    def _await(self, kafka: BrokerProcess, ready: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            if not kafka.running:
                raise BrokerError(f"Apache Kafka ended while starting: {self._last_words()} (log: {self.log})")
            if time.monotonic() > deadline:
                raise BrokerError(f"Apache Kafka does not answer at {self.address} in time; its log is {self.log}")
            time.sleep(0.05)

    def _last_words(self) -> str:
        for path in (self.log, self._out):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
            if wrong := [line for line in lines if _EXCEPTION.match(line)] or [
                line for line in lines if " ERROR " in line
            ]:
                return wrong[-1][:300]
        return "it gave no reason"
