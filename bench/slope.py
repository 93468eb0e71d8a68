"""Whether memory grows: every service's resident memory while events and late labels come steadily.

Starts the whole pipeline on the embedded broker and sends it events of ten numbers, and the label of each an hour of event
time later. What is kept (labels awaited, features to learn from) has found its size after the 24 hours of event time
that the horizon is long, and ids once there are as many as are remembered; the slope is fitted to what comes after the
first third of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from bench import chart, results, ten, versions
from bench.stages import scrape
from examples.flights.dirt import Send
from examples.flights.replay import Replay
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal
from services.cli.supervise import StartError, Supervisor
from services.domain.spec import parse

CHART = Path(__file__).parent / "memory.svg"
_EVERY_S = 5.0
_LATER = timedelta(hours=1)
_ENOUGH_MINUTES = 20
_IDS = 10_000
"""Remembered by each lane: the default would fill up for longer than this lasts."""
Series = dict[str, list[tuple[float, float]]]


class Found(NamedTuple):
    """Resident MB of every service by minute, and what was sent a second."""

    series: Series
    events: float
    labels: float


def steady() -> Iterator[Send]:
    """One event a second of event time, and each one's label an hour later, for ever."""
    source = random.Random(1)  # noqa: S311 - a reproducible workload
    waiting: deque[tuple[str, bool]] = deque()
    encode = msgspec.json.encode
    for number in range(2**62):
        at = ten.START + timedelta(seconds=number)
        second = int(at.timestamp())
        values = {name: source.gauss(0, 1) for name in ten.FEATURES}
        key = f"{number:010d}"
        yield Send(second, "event", key.encode(), encode({"id": key, "at": at.isoformat(), **values}))
        waiting.append((key, sum(values.values()) + source.gauss(0, 2) > 0))
        if number >= _LATER.total_seconds():
            key, label = waiting.popleft()
            yield Send(second, "label", key.encode(), encode({"id": key, "at": at.isoformat(), "label": label}))


async def watched(supervisor: Supervisor, options: argparse.Namespace) -> Found:
    """Every service while the replay sends."""
    await supervisor.start()
    urls = {name: url for name, url in supervisor.endpoints.items() if url.startswith("http")}
    replay = Replay(supervisor.deployment.settings.kafka(), steady(), supervisor.deployment.name, options.rate)
    sending = asyncio.create_task(replay.run())
    found: Series = {name: [] for name in urls}
    began = time.monotonic()
    try:
        while (minutes := (time.monotonic() - began) / 60) < options.minutes:
            for name, url in urls.items():
                seen = await asyncio.to_thread(scrape, url)
                found[name].append((minutes, seen["resident_memory_bytes"] / 1e6))
            if sending.done():
                sending.result()
            if sys.stdout.isatty():
                told = "  ".join(f"{name} {points[-1][1]:.0f}" for name, points in found.items())
                print(f"\r{minutes:5.1f} min  {told} MB ", end="", flush=True)
            await asyncio.sleep(_EVERY_S)
        seconds, sent = time.monotonic() - began, replay.progress
        events, labels = sent.events / seconds, sent.labels / seconds
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    print(f"\nsent: {sent.line()}")
    return Found(found, events, labels)


def table(found: Series, minutes: float) -> list[str]:
    """As Markdown."""
    lines = ["| service | MB after a third | at the end | at most | slope, MB an hour |", "|---|---|---|---|---|"]
    for name, points in found.items():
        settled = np.array([point for point in points if point[0] >= minutes / 3])
        slope = float(np.polyfit(settled[:, 0] / 60, settled[:, 1], 1)[0])
        first, last, most = settled[0, 1], settled[-1, 1], max(y for _, y in points)
        lines.append(f"| {name} | {first:.1f} | {last:.1f} | {most:.1f} | {slope:+.1f} |")
    return lines


def told(found: Found, minutes: float) -> list[str]:
    """What was sent, and with which setting that is not the usual one."""
    usual = parse(ten.pipeline())
    filled = usual.event.dedupe_ids * usual.topics.partitions / found.events / 60
    return [
        f"{minutes:g} minutes at {found.events:,.0f} events and {found.labels:,.0f} labels a second, counted as they were "
        "sent; the slope is of the last two thirds.",
        f"Each lane remembers {_IDS:,} ids (`dedupe_ids`) in place of the default {usual.event.dedupe_ids:,}: so many are "
        f"there after {filled:,.0f} minutes only, and until then memory rises without a leak.",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.slope", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=_ENOUGH_MINUTES, help=f"to run ({_ENOUGH_MINUTES}; so many write RESULTS.md)"
    )
    parser.add_argument("--rate", type=float, default=300.0, help="events a second, and as many labels (300)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
        pipeline = Path(folder) / "ten.toml"
        pipeline.write_text(ten.pipeline().replace("[event]", f"[event]\ndedupe_ids = {_IDS}"), encoding="utf-8")
        supervisor = Supervisor(pipeline, Path(folder) / "data", say=print)
        try:
            found = asyncio.run(until_signal(watched(supervisor, options), supervisor.stop()))
        except (BrokerError, StartError) as error:
            sys.exit(f"error: {error}")
    if found is None:
        return 130
    others = versions.broker() if supervisor.broker is not None else []  # one of somebody else's tells no version
    lines = [
        *table(found.series, options.minutes), "", *told(found, options.minutes), "",
        *results.circumstances("slope", ("aiokafka", "faust-streaming", "msgspec", "river"), others),
    ]  # fmt: skip
    print("\n".join(lines))
    if options.minutes >= _ENOUGH_MINUTES:
        results.put("memory", lines)
        CHART.write_text(chart.lines("Resident memory of every service", "MB", found.series), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
