"""How scoring scales: events a second with 1, 2, 4 and 8 partitions, by one process and by two.

Each measurement starts the service on a topic that is full, and leaves out what it does before all processes have their
share. Outputs are compared as beside the peers (python -m bench.peers), whose input and model these are. Where the broker
and two processes have fewer than three cores between them, two processes cannot be twice as fast.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import results, versions
from bench.peers.catalogue import OURS
from bench.peers.measure import measure
from bench.peers.session import PeerError, Session, Sizes
from bench.window import Measured
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal

_PROCESSES = (1, 2)
_HEAD = "| partitions | processes | events/s | CPU µs/event | broker's CPU µs/event | against one process on one partition |"


def say(line: str) -> None:
    print(line, flush=True)


async def measured(session: Session, rounds: int) -> dict[int, list[Measured]]:
    """By number of processes, on one number of partitions."""
    await session.open()
    found: dict[int, list[Measured]] = {}
    for number in range(rounds):
        for processes in _PROCESSES:
            it = await measure(session, OURS, f"{processes}-{number}", processes)
            found.setdefault(processes, []).append(it)
            say(f"{session.sizes.partitions} partitions, {processes} processes: {it.rate:,.0f} events/s")
    return found


async def run(wanted: argparse.Namespace) -> list[str] | None:
    """The table as Markdown; None when it was interrupted."""
    lines = [_HEAD, "|---|---|---|---|---|---|"]
    first = 0.0
    for partitions in wanted.partitions:
        with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
            session = Session(Path(folder), Sizes(wanted.warm_up, wanted.events, partitions), say)
            found = await until_signal(measured(session, wanted.rounds), session.close())
        if found is None:
            return None
        for processes, each in found.items():
            rate = median(it.rate for it in each)
            first = first or rate
            cpu, broker = median(it.cpu_us for it in each), median(it.broker_us for it in each)
            lines.append(
                f"| {partitions} | {processes} | {rate:,.0f} | {cpu:.1f} | {broker:.1f} | {rate / first:.2f}× |"
            )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, nargs="+", default=[1, 2, 4, 8], help="of every topic (1 2 4 8)")
    parser.add_argument("--rounds", type=int, default=3, help="of each; medians count (3)")
    parser.add_argument("--events", type=int, default=200_000, help="measured (200000)")
    parser.add_argument("--warm-up", type=int, default=250_000, help="events before (250000)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    wanted = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of topics that are not there yet
    try:
        lines = asyncio.run(run(wanted))
    except (BrokerError, PeerError) as error:
        sys.exit(f"error: {error}")
    if lines is None:
        return 130
    lines += ["", *results.circumstances("scale", ("aiokafka", "msgspec", "river"), versions.broker())]
    say("\n" + "\n".join(lines))
    if wanted.write:
        results.put("scale", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
