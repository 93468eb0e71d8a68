"""The same work, the same bytes, one run: Rivermill's scoring beside its peers.

Starts the embedded broker, fills one topic with clean events of ten numbers, and in each round starts every system, in
an order drawn anew from the seed, as a process of its own that reads them, scores them with the same linear model, and
writes the same predictions. It is watched from outside: events by where the output topic ends, CPU by the process's clock; the first outputs, while
programs and JIT compilers warm up, are not measured. Then a read_committed reader compares the output, byte by byte.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import chart, results, versions
from bench.goals import Rounds
from bench.peers import kafka_streams, report
from bench.peers.available import why_not
from bench.peers.catalogue import KAFKA_STREAMS, OURS, PEERS, Peer
from bench.peers.measure import measure
from bench.peers.session import PEERS_PYTHON, PeerError, Session, Sizes
from bench.processes import ROOT
from bench.window import Measured
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal

CHART = ROOT / "docs" / "images" / "bench-peers.svg"
_PACKAGES = ("aiokafka", "bytewax", "confluent-kafka", "faust-streaming", "msgspec", "quixstreams", "river")
_ENOUGH = 5


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"systems: {', '.join(names)}. The peers' packages are in an environment of their own, .venv-bench: "
        "`make bench` makes it. Examples: python -m bench.peers; python -m bench.peers --rounds 1 --only rivermill "
        "bytewax.",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="how often each system runs (5)")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which the systems run (1)")
    parser.add_argument("--events", type=int, default=300_000, help="events measured, a slow peer gets fewer (300000)")
    parser.add_argument("--warm-up", type=int, default=100_000, help="events before them (100000)")
    parser.add_argument("--partitions", type=int, default=4, help="of every topic; 4 is a pipeline's default")
    parser.add_argument("--only", nargs="+", choices=names, metavar="SYSTEM", help="these systems, not all")
    parser.add_argument(
        "--write", action="store_true", help=f"write RESULTS.md and the chart (so do {_ENOUGH} rounds of all)"
    )
    return parser.parse_args(arguments)


class Comparison:
    """All rounds of all systems; ``missing`` says why one was not run."""

    def __init__(self, session: Session, peers: Sequence[Peer], rounds: int, seed: int) -> None:
        self.session = session
        self.peers = peers
        self.missing: dict[str, str] = {}
        self.measured: dict[str, list[Measured | None]] = {peer.name: [] for peer in peers}
        self.failed: list[report.Failed] = []
        self._rounds = rounds
        self.seed = seed
        self._order = random.Random(seed)  # noqa: S311 - no secret

    async def run(self) -> Rounds:
        await self.session.open()
        for peer in self.peers:
            if reason := await asyncio.to_thread(why_not, peer, self.session.folder):
                self.missing[peer.name] = reason
                say(f"not run: {peer.title}: {reason}")
        say("warming the broker up")
        await measure(self.session, OURS, "bench-warm-up")
        able = [peer for peer in self.peers if peer.name not in self.missing]
        for number in range(self._rounds):
            for peer in self._order.sample(able, len(able)):  # whom one comes after is chance
                self.measured[peer.name].append(await self._one(peer, number))
        return self.measured

    async def _one(self, peer: Peer, number: int) -> Measured | None:
        told = f"round {number + 1}/{self._rounds}  {peer.title}, {peer.delivery}"
        try:
            found = await measure(self.session, peer, f"bench-{peer.name}-{number}")
        except (PeerError, ValueError) as error:
            self.missing[peer.name] = f"failed in round {number + 1}: {error}"
            self.failed.append(report.Failed(peer, number + 1, str(error)))
            say(f"{told}: {error}")
            return None
        say(f"{told:60} {found.rate:10,.0f} events/s {found.cpu_us:8.1f} µs CPU/event")
        return found


def say(line: str) -> None:
    print(line, flush=True)


def told(comparison: Comparison, sizes: Sizes, rounds: int) -> list[str]:
    """The generated part of RESULTS.md."""
    return [
        *report.goal_table(comparison.measured, comparison.missing), "",
        *report.table(comparison.peers, comparison.measured, comparison.missing), "",
        f"Medians (and ranges) of {rounds} rounds, each in an order of its own (seed {comparison.seed}); ratios are taken "
        f"within a round. {report.sizes_told(comparison.peers, sizes)}, {sizes.partitions} partitions, one process each.",
        *report.failures(comparison.failed),
        f"{report.compared(comparison.failed)} Other programs on the machine took {_others(comparison.measured)} of its "
        "cores meanwhile (median of all runs).", "",
        *results.circumstances(
            "peers", _PACKAGES, [*versions.broker(), *_java(comparison.measured)], python=str(PEERS_PYTHON)
        ),
    ]  # fmt: skip


def _java(rounds: Rounds) -> list[str]:
    return [kafka_streams.version()] if any(rounds.get(KAFKA_STREAMS.name, ())) else []


def _others(rounds: Rounds) -> str:
    found = [it.others for each in rounds.values() for it in each if it and it.broker_cpu]
    return f"{median(found):.2f}" if found else "-"


async def compare(wanted: argparse.Namespace, folder: Path) -> int:
    peers = [peer for peer in PEERS if not wanted.only or peer.name in wanted.only]
    sizes = Sizes(wanted.warm_up, wanted.events, wanted.partitions)
    session = Session(folder, sizes, say)
    comparison = Comparison(session, peers, wanted.rounds, wanted.seed)
    if await until_signal(comparison.run(), session.close()) is None:
        return 130
    lines = told(comparison, sizes, wanted.rounds)
    say("\n" + "\n".join(lines))
    asked = wanted.write or (wanted.rounds >= _ENOUGH and not wanted.only)
    if asked and report.may_be_written(comparison.failed):
        results.put("peers", lines)
        rates, cpus = report.bars(peers, comparison.measured)
        CHART.write_text(chart.bars([("Events a second", rates), ("CPU µs an event", cpus)]), encoding="utf-8")
        say(f"\nwritten to {results.RESULTS.relative_to(ROOT)} and {CHART.relative_to(ROOT)}")
    elif asked:
        say("\nnot to be written down: a round of Rivermill itself failed")
    return 1 if comparison.failed else 0


def main() -> int:
    wanted = options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of topics that are not there yet
    with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
        try:
            return asyncio.run(compare(wanted, Path(folder)))
        except (BrokerError, PeerError) as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main())
