"""Replays the flights through an ordinary Kafka producer, faster than they were: ``python -m examples.flights.replay``.

The pipeline is not involved: this is what any producer of events and, later, labels does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from examples.flights.data import FlightsError, flights, text_of
from examples.flights.dirt import SEED, SHARE, Send, soil
from services.cli.topic_batches import ProduceError, TopicBatches, started
from services.runtime.settings import SettingsError, from_environment

DAYS = 60
SPEED = 40_000.0
_TICK_S = 0.02
_MOST_A_TICK = 2000


@dataclass(slots=True)
class ReplayProgress:
    """How far a replay is; read it at any time. ``current`` is event time in epoch seconds."""

    events: int = 0
    labels: int = 0
    dirt: Counter[str] = field(default_factory=Counter)
    current: int | None = None
    finished: bool = False

    def sent(self, batch: list[Send]) -> None:
        """Count a batch that has been handed to the producer."""
        labels = sum(1 for send in batch if send.kind == "label")
        self.labels += labels
        self.events += len(batch) - labels
        self.dirt.update(send.dirt for send in batch if send.dirt)
        self.current = batch[-1].at

    def line(self) -> str:
        """The progress in a line."""
        now = text_of(self.current) if self.current is not None else "-"
        return f"{now}  {self.events:,} events  {self.labels:,} labels  {self.dirt.total():,} soiled"


def speed_of(text: str) -> float:
    """A speed as typed: ``600x``, ``40000`` or ``max`` (infinity); ValueError otherwise."""
    if text == "max":
        return math.inf
    speed = float(text.removesuffix("x").replace("_", ""))
    if not 0 < speed < math.inf:
        raise ValueError(text)
    return speed


class Replay:
    """Sends to ``<pipeline>.events.raw`` and ``.labels.raw`` at ``speed`` times the pace of event time.

    ``kafka`` are aiokafka's connection arguments. ``progress`` counts what has been handed to the producer;
    :meth:`run` returns when the broker has acknowledged all of it.
    """

    def __init__(self, kafka: dict[str, Any], sends: Iterable[Send], pipeline: str, speed: float = SPEED) -> None:
        self.progress = ReplayProgress()
        self._kafka = kafka
        self._sends = sends
        self._pipeline = pipeline
        self._speed = speed
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End soon: what has been handed over is still acknowledged."""
        self._stopped.set()

    async def run(self) -> ReplayProgress:
        """Replay to the end or until :meth:`stop`; ProduceError when the broker or a topic is not there."""
        producer = await started(self._kafka)
        try:
            events = TopicBatches(producer, f"{self._pipeline}.events.raw")
            labels = TopicBatches(producer, f"{self._pipeline}.labels.raw")
            await events.open()
            await labels.open()
            await self._pace(events, labels)
            await events.drain()
            await labels.drain()
        finally:
            await producer.stop()
        self.progress.finished = not self._stopped.is_set()
        return self.progress

    async def _pace(self, events: TopicBatches, labels: TopicBatches) -> None:
        """Hand over what has become due, tick by tick; what a slow broker held up follows as fast as it can."""
        sends = iter(self._sends)
        upcoming = await asyncio.to_thread(next, sends, None)  # opens the data set: a second
        started_at = time.monotonic()
        first = upcoming.at if upcoming else 0
        while upcoming is not None and not self._stopped.is_set():
            due = first + (time.monotonic() - started_at) * self._speed if self._speed < math.inf else math.inf
            batch: list[Send] = []
            while upcoming is not None and upcoming.at <= due and len(batch) < _MOST_A_TICK:
                batch.append(upcoming)
                upcoming = next(sends, None)
            if batch:
                await events.send([(send.key, send.value) for send in batch if send.kind == "event"])
                await labels.send([(send.key, send.value) for send in batch if send.kind == "label"])
                self.progress.sent(batch)
            if len(batch) < _MOST_A_TICK:
                await self._sleep()
            else:
                await asyncio.sleep(0)

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), _TICK_S)


async def _replay(replay: Replay) -> ReplayProgress:
    """Run until done or Ctrl-C, with a line a second."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, replay.stop)
    running = asyncio.create_task(replay.run())
    while not running.done():
        await asyncio.wait([running], timeout=1)
        print(replay.progress.line(), flush=True)
    return await running


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit code 1 with one line when something is in the way."""
    parser = argparse.ArgumentParser(prog="python -m examples.flights.replay", description=__doc__)
    parser.add_argument("--pipeline", default="flights", help="the pipeline whose raw topics receive (flights)")
    parser.add_argument("--days", type=int, default=DAYS, help=f"how many days of 2013 ({DAYS})")
    parser.add_argument("--flights", type=int, help="how many flights at most")
    parser.add_argument("--speed", type=speed_of, default=SPEED, help=f"600x, max; default {SPEED:.0f}x")
    parser.add_argument("--share", type=float, default=SHARE, help=f"share of the flights that is soiled ({SHARE})")
    parser.add_argument("--seed", type=int, default=SEED, help="which flights are soiled, and how")
    chosen = parser.parse_args(arguments)
    try:
        kafka = from_environment(os.environ).kafka()
        sends = soil(flights(chosen.days, chosen.flights), chosen.share, chosen.seed)
        progress = asyncio.run(_replay(Replay(kafka, sends, chosen.pipeline, chosen.speed)))
    except (FlightsError, ProduceError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for kind, count in sorted(progress.dirt.items()):
        print(f"{count:8,} {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
