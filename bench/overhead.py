"""What metrics and logs cost scoring: as it is, and with both taken out of its process, in turn.

Each round starts the service twice on the same full topic, exactly once, as python -m bench.peers does: once as it is,
its /metrics asked for every second (Prometheus asks every fifteen), and once by bench.silent. Who is first changes from
round to round, and a ratio is one of two neighbours. Runs differ by themselves, so the silent service is also held
against itself: against its run in the round before.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench import results, versions
from bench.goals import Goal, Rounds, Spread, cpu, ratios
from bench.peers import report
from bench.peers.catalogue import OURS, Peer
from bench.peers.measure import measure
from bench.peers.session import PeerError, Session, Sizes
from bench.processes import last_words
from bench.window import Measured
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal

SILENT = Peer("silent", "Rivermill scoring, no metrics, no logs", "exactly once", "rivermill", ("exactly_once",))
GOAL = Goal("itself without metrics and logs", OURS.name, SILENT.name, "cpu", 1.03)
_PARTITIONS = 4
_SCRAPE_EVERY_S = 1.0
_COUNTED = re.compile(r"^rivermill_records_in_total\{.*\} (\S+)", re.MULTILINE)


class Watched(Session):
    """Starts both kinds, and keeps where the last one answers and how many records it said it had read."""

    url = ""
    counted = 0.0

    def command(self, peer: Peer, run: str, number: int = 0) -> tuple[list[str], dict[str, str]]:
        """As the peers' session does, and through ``bench.silent``."""
        command, env = super().command(peer, run, number)
        self.url, self.counted = f"http://127.0.0.1:{env['RIVERMILL_WEB_PORT']}/metrics", 0.0
        if peer is SILENT:
            command[1:3] = ["-m", "bench.silent", command[2]]
        return command, env

    async def scrape(self) -> None:
        """Ask for the metrics again and again; a service that is not up yet, or no more, is asked later."""
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                await asyncio.sleep(_SCRAPE_EVERY_S)
                try:
                    page = (await client.get(self.url)).text
                except httpx.HTTPError:
                    continue
                self.counted = max(self.counted, sum(map(float, _COUNTED.findall(page))))


def say(line: str) -> None:
    print(line, flush=True)


async def measured(session: Watched, rounds: int) -> Rounds:
    """Both kinds, round by round."""
    await session.open()
    found: dict[str, list[Measured | None]] = {OURS.name: [], SILENT.name: []}
    for number in range(rounds):
        for peer in (OURS, SILENT) if number % 2 == 0 else (SILENT, OURS):
            it = await _one(session, peer, f"{peer.name}-{number}")
            found[peer.name].append(it)
            say(f"round {number + 1}/{rounds}  {peer.title:40} {it.cpu_us:6.2f} µs CPU/event")
    return found


async def _one(session: Watched, peer: Peer, run: str) -> Measured:
    if peer is SILENT:
        it = await measure(session, peer, run)
        if session.log(peer).stat().st_size:
            raise PeerError(f"it was to be silent: {last_words(session.log(peer))}")
        return it
    scraping = asyncio.create_task(session.scrape())
    try:
        it = await measure(session, peer, run)
    finally:
        scraping.cancel()
    if not session.counted or not session.log(peer).stat().st_size:
        raise PeerError(
            f"it counted {session.counted:,.0f} records, and wrote {session.log(peer).stat().st_size} bytes of log"
        )
    return it


def told(found: Rounds, sizes: Sizes) -> list[str]:
    """The table with the goal, and what it rests on."""
    usual, silent = cpu(found[OURS.name]), cpu(found[SILENT.name])
    lines = report.goal_table(found, {}, (GOAL,))
    if usual is None or silent is None:
        return lines
    by_itself = ratios({"now": found[SILENT.name][1:], "before": found[SILENT.name]}, "now", "before", "cpu")
    lines += ["", f"CPU µs an event: {usual.median:.2f} ({usual.low:.2f} to {usual.high:.2f}) as it is, {silent.median:.2f} "
              f"({silent.low:.2f} to {silent.high:.2f}) without; medians of {len(found[OURS.name])} alternating rounds of "
              f"{sizes.events:,} events."]  # fmt: skip
    if by_itself is not None:
        lines += [
            f"The silent service against itself, one round and the next: {by_itself.low:.2f}× to {by_itself.high:.2f}×."
            + noise(by_itself)
        ]
    return lines


def noise(by_itself: Spread) -> str:
    """Whether what makes no difference moves by more than the goal allows a difference to be."""
    margin, most = GOAL.bound - 1, max(by_itself.high - 1, 1 - by_itself.low)
    if most <= margin:
        return ""
    return (
        f" **The noise exceeds the goal's margin**: up to {most:.1%} from one round to the next without any difference, "
        f"where the goal allows {margin:.0%}; the verdict is of the median alone."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="of both kinds (10)")
    parser.add_argument("--events", type=int, default=600_000, help="measured (600000)")
    parser.add_argument("--warm-up", type=int, default=150_000, help="events before (150000)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    wanted = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of topics that are not there yet
    sizes = Sizes(wanted.warm_up, wanted.events, _PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
        session = Watched(Path(folder), sizes, say)
        try:
            found = asyncio.run(until_signal(measured(session, wanted.rounds), session.close()))
        except (BrokerError, PeerError) as error:
            sys.exit(f"error: {error}")
    if found is None:
        return 130
    packages = ("aiokafka", "msgspec", "prometheus-client", "structlog")
    lines = [*told(found, sizes), "", *results.circumstances("overhead", packages, versions.broker())]
    say("\n" + "\n".join(lines))
    if wanted.write:
        results.put("overhead", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
