"""What all rounds share: the broker, the pipeline, the input, and what must come out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench import kafka, ten
from bench.peers import kafka_streams
from bench.peers.catalogue import Peer
from bench.peers.rivermill import Pipeline, exported
from bench.processes import ROOT, Processes, last_words
from bench.window import Measured
from schemas.topics import Topic
from services.cli.broker import Broker

PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"

Say = Callable[[str], None]


class PeerError(RuntimeError):
    """A peer that did not start, ended, stalled, or wrote something else than it should."""


@dataclass(frozen=True)
class Sizes:
    """How many records come before the measurement, how many are measured, and on how many partitions."""

    warm_up: int
    events: int
    partitions: int

    @property
    def total(self) -> int:
        """The records in the input topic."""
        return self.warm_up + self.events

    def of(self, peer: Peer) -> tuple[int, int]:
        """What of it one peer gets: records before, records measured."""
        before = int(self.warm_up * peer.warm_up)
        return before, min(int(self.events * peer.share), self.total - before)


@dataclass
class Session:
    """Start it with :meth:`open`, end it with :meth:`close` in every case."""

    folder: Path
    sizes: Sizes
    say: Say
    predictions: Mapping[bytes, bytes] = field(default_factory=dict)
    events: Mapping[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.broker = Broker(self.folder / "broker")
        self.processes = Processes()

    async def open(self) -> None:
        """Start the broker, train the model, fill the input topic, and compute the predictions to expect."""
        if not PEERS_PYTHON.exists():
            raise PeerError("the peers' environment .venv-bench is missing: run `make bench`, which makes it")
        await asyncio.to_thread(self.broker.start, self.say)
        self.pipeline = Pipeline(self.folder, self.broker.address, self.sizes.partitions)
        deployment = self.pipeline.deployment
        self.say("training the model")
        blob = await asyncio.to_thread(ten.trained, deployment.spec)
        await self.pipeline.open(blob)
        self.model.write_bytes(exported(blob, deployment.spec.pipeline.threshold))
        self.say(f"writing {self.sizes.total:,} clean events to {self.source.name}")
        self.events = dict(ten.clean_events(self.sizes.total, deployment.spec_hash))
        await kafka.fill(self.pipeline.settings, self.source.name, self.events.items())
        self._input.write_bytes(b"\n".join(self.events.values()))
        await self.in_memory()
        self.predictions = dict(zip(self.events, self._output.read_bytes().splitlines(), strict=True))

    @property
    def source(self) -> Topic:
        """The topic that all read."""
        return self.pipeline.topic("events.clean")

    @property
    def model(self) -> Path:
        """The trained model's file for the peers."""
        return self.folder / "model.json"

    @property
    def _input(self) -> Path:
        return self.folder / "events.ndjson"

    @property
    def _output(self) -> Path:
        return self.folder / "predictions.ndjson"

    def log(self, peer: Peer) -> Path:
        """Where a peer's output goes."""
        return self.folder / f"{peer.name}.log"

    def sink(self, peer: Peer) -> Topic:
        """The topic that a peer writes: made as Rivermill's own."""
        predictions = self.pipeline.topic("predictions")
        ours = peer.module == "rivermill"
        return predictions if ours else msgspec.structs.replace(predictions, name=f"bench.peer.{peer.name}")

    def command(self, peer: Peer, run: str, number: int = 0) -> tuple[list[str], dict[str, str]]:
        """How a peer is started, and what is added to its environment; ``number`` tells processes of one peer apart."""
        if peer.module == "rivermill":
            return self.pipeline.command(), self.pipeline.environment(peer.options[0], number)
        broker, source, sink = self.pipeline.settings.broker, self.source.name, self.sink(peer).name
        if peer.module == "kafka_streams":
            return kafka_streams.command(self.folder, broker, run, [source, sink]), {}
        folder = self.folder / run
        folder.mkdir()
        usual = [
            "--broker", broker, "--source", source, "--sink", sink, "--group", run,
            "--model", str(self.model), "--folder", str(folder),
        ]  # fmt: skip
        return [str(PEERS_PYTHON), "-m", f"bench.peers.{peer.module}", *usual, *peer.options], {}

    async def in_memory(self) -> Measured:
        """The loop without Kafka, which measures itself."""
        command = [
            str(PEERS_PYTHON), "-m", "bench.peers.in_memory", "--model", str(self.model),
            "--events", str(self._input), "--output", str(self._output), "--warm-up", str(self.sizes.warm_up),
        ]  # fmt: skip
        process = await self.processes.start(command, {}, self.folder / "in-memory.log", asyncio.subprocess.PIPE)
        told, _ = await process.communicate()
        if process.returncode:
            raise PeerError(f"the loop in memory failed: {last_words(self.folder / 'in-memory.log')}")
        return msgspec.json.decode(told, type=Measured)

    async def close(self) -> None:
        """Stop everything that was started."""
        await self.processes.close()
        await asyncio.to_thread(self.broker.stop)
