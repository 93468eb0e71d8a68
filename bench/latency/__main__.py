"""From a raw event to its prediction: two hops, under steady loads that wait for nobody.

Starts the embedded broker, finds how many events a second cleaning and scoring sustain together, and then sends so many a
second: 200, half of that, and four fifths of it. A read_committed consumer notes when each clean event and each
prediction came to it; an event's latency counts from the moment when it was due to be sent. Kafka Streams, copying the
same bytes over two hops at its default commit interval, is sent the same. Events while programs and JIT compilers warm
up are sent, and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from bench import kafka, results, ten, versions
from bench.latency import report
from bench.latency.load import Arrivals, arriving, raw_events, send
from bench.latency.measures import Measured, parts
from bench.latency.systems import EXACTLY_ONCE, KAFKA_STREAMS, SYSTEMS, System
from bench.peers import kafka_streams
from bench.peers.rivermill import Pipeline
from bench.processes import Processes, last_words
from services.cli.broker import Broker
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal

_READY_S = 60.0
_DRAIN_S = 30.0
_FIRST = 100
"""Events sent to see that a system runs."""
_CAPACITY_EVENTS = 80_000
_BISECTIONS = 5
_PROBE_S = 5.0
_SUSTAINED_S = 1.0
_SHARES = {"50 %": 0.5, "80 %": 0.8}
_SLOW = "200/s"
_SLOW_RATE = 200.0
_ENOUGH = 3
_PACKAGES = ("aiokafka", "faust-streaming", "msgspec", "river")


class LatencyError(RuntimeError):
    """A system that did not start, ended, or lost events."""


class Session:
    """Start it with :meth:`open`, end it with :meth:`close` in every case."""

    def __init__(self, folder: Path, wanted: argparse.Namespace) -> None:
        self.folder = folder
        self.wanted = wanted
        self.broker = Broker(folder / "broker")
        self.processes = Processes()
        self.systems = list(SYSTEMS)
        self.missing = ""

    async def open(self) -> None:
        """Start the broker, train the model."""
        await asyncio.to_thread(self.broker.start, say)
        self.pipeline = Pipeline(self.folder, self.broker.address, self.wanted.partitions)
        await self.pipeline.open(await asyncio.to_thread(ten.trained, self.pipeline.deployment.spec))
        self.missing = await asyncio.to_thread(kafka_streams.prepare, self.folder)
        if self.missing:
            say(f"not run: {KAFKA_STREAMS.title}: {self.missing}")
            self.systems.remove(KAFKA_STREAMS)

    async def close(self) -> None:
        """Stop everything that was started."""
        await self.processes.close()
        await asyncio.to_thread(self.broker.stop)

    @asynccontextmanager
    async def running(self, system: System, run: str, count: int) -> AsyncIterator[tuple[Arrivals, Arrivals]]:
        """A system that works on empty topics, and the arrivals of ``count`` events in the second and third."""
        settings, topics = self.pipeline.settings, system.hops(self.pipeline)
        await kafka.recreate(settings, system.made_anew(self.pipeline))
        log = self.folder / f"{run}.log"
        started = []
        async with (
            arriving(settings, topics[1].name, topics[1].partitions, count) as middle,
            arriving(settings, topics[2].name, topics[2].partitions, count) as last,
        ):
            try:
                for command, env in system.commands(self.pipeline, self.folder, run):
                    started.append(await self.processes.start(command, env, log))
                yield middle, last
                if ended := [it for it in started if it.returncode is not None]:
                    raise LatencyError(f"{system.title}: {len(ended)} ended: {last_words(log)}")
            finally:
                for process in started:
                    await self.processes.stop(process)

    async def capacity(self) -> float:
        """Events a second that cleaning and scoring sustain, exactly once, while this program sends and reads.

        Sustained is a load whose last event comes out within a second of being due (the greatest such load is Karimov et
        al.'s sustainable throughput, ICDE 2018), found by bisection below what they take from a full topic.
        """
        low, high = 0.0, await self._from_full_topic()
        # under a load before those that count: a broker whose JVM still compiles fails the first of them
        await self.measure(EXACTLY_ONCE, "capacity-unmeasured", high / 2, _PROBE_S)
        for step in range(_BISECTIONS):
            rate = (low + high) / 2
            found = await self.measure(EXACTLY_ONCE, f"capacity-{step}", rate, _PROBE_S)
            behind = found.last_s
            say(f"{rate:,.0f} events/s: the last one {behind:.1f} s after it was due")
            low, high = (rate, high) if behind <= _SUSTAINED_S else (low, rate)
        if not low:
            raise LatencyError(f"not even {high:,.0f} events/s are sustained on this machine")
        return low

    async def _from_full_topic(self) -> float:
        events = raw_events(_CAPACITY_EVENTS)
        async with self.running(EXACTLY_ONCE, "capacity", len(events)) as (_, last):
            await kafka.fill(self.pipeline.settings, EXACTLY_ONCE.hops(self.pipeline)[0].name, events)
            if not await last.reach(len(events), _READY_S + _DRAIN_S):
                raise LatencyError(f"only {last.came:,} of {len(events):,} events came out")
            times = np.sort(np.asarray(last.at))
        skipped = len(times) // 4  # while it warms up
        return float((len(times) - 1 - skipped) / (times[-1] - times[skipped]))

    async def measure(self, system: System, run: str, rate: float, seconds: float) -> Measured:
        """One system under one load for so long, after it has warmed up."""
        warm = _FIRST + int(rate * self.wanted.warm_up)
        events = raw_events(warm + int(rate * seconds))
        settings, source = self.pipeline.settings, system.hops(self.pipeline)[0].name
        async with self.running(system, run, len(events)) as (middle, last):
            await send(settings, source, events[:_FIRST], _SLOW_RATE)
            if not await last.reach(_FIRST, _READY_S):
                raise LatencyError(f"{system.title} wrote nothing: {last_words(self.folder / f'{run}.log')}")
            begin = await send(settings, source, events[_FIRST:], rate)
            await last.reach(len(events), _DRAIN_S)
            due = [begin + (number - _FIRST) / rate for number in range(len(events))]
            lost, repeats = len(events) - last.came, middle.repeats + last.repeats
            return Measured(rate, parts(due, middle.at, last.at, warm), lost, repeats, float(np.max(last.at)) - due[-1])


async def measured(session: Session) -> tuple[float, report.Rounds]:
    await session.open()
    capacity = await session.capacity()
    say(f"cleaning and scoring together sustain {capacity:,.0f} events/s")
    loads = {_SLOW: _SLOW_RATE, **{name: capacity * share for name, share in _SHARES.items()}}
    found: report.Rounds = {}
    for number in range(session.wanted.rounds):
        for load, rate in loads.items():
            for system in session.systems:
                it = await session.measure(
                    system, f"{system.name}-{number}-{round(rate)}", rate, session.wanted.seconds
                )
                found.setdefault((load, system.name), []).append(it)
                both = it.parts["both"]
                say(
                    f"round {number + 1}/{session.wanted.rounds}  {load:6} {rate:7,.0f}/s  {system.title:36}"
                    f" p50 {both.p50:7.1f} ms  p99 {both.p99:7.1f} ms  p99.9 {both.p999:7.1f} ms"
                    + (f"  LOST {it.lost}" if it.lost else "")
                )
    return capacity, found


def say(line: str) -> None:
    print(line, flush=True)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=1,
        help=f"of all systems under all loads (1; {_ENOUGH} write RESULTS.md)",
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="of load that are measured (15)")
    parser.add_argument("--warm-up", type=float, default=8.0, help="seconds of load before (8)")
    parser.add_argument("--partitions", type=int, default=4, help="of every topic; 4 is a pipeline's default")
    return parser.parse_args(arguments)


async def run(wanted: argparse.Namespace, folder: Path) -> int:
    session = Session(folder, wanted)
    outcome = await until_signal(measured(session), session.close())
    if outcome is None:
        return 130
    capacity, found = outcome
    java = [] if session.missing else [kafka_streams.version()]
    lines = [
        *report.goals(found), "", *report.table(found, session.systems), "",
        *report.circumstances(capacity, wanted, session.missing), "",
        *results.circumstances("latency", _PACKAGES, [*versions.broker(), *java]),
    ]  # fmt: skip
    say("\n" + "\n".join(lines))
    return finished(found, lines, write=wanted.rounds >= _ENOUGH)


def finished(found: report.Rounds, lines: Sequence[str], *, write: bool, path: Path = results.RESULTS) -> int:
    """Write what was measured, unless a run is broken; the exit status."""
    if broken := report.broken(found):
        say("\nnot to be written down, for some runs lost or repeated events:\n" + "\n".join(broken))
        return 1
    if write:
        results.put("latency", lines, path)
        say(f"\nwritten to {path}")
    return 0


def main() -> int:
    wanted = options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of topics that are not there yet
    with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
        try:
            return asyncio.run(run(wanted, Path(folder)))
        except (BrokerError, LatencyError) as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main())
