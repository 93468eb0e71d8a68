"""CPU per record and memory of every service, transactions and metrics on: ``python -m bench.stages``.

Starts the whole pipeline on the embedded broker, sends it tidy events as fast as it takes them, with or without labels,
and divides each process's own CPU seconds (from its /metrics, start-up left out) by the records it read. ``--pipeline
ten`` is ten numbers and one linear model; ``flights`` is examples/flights/pipeline.toml on the real flights.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from bench import results, versions
from bench.ten import pipeline as plain
from examples.flights.data import flights
from examples.flights.dirt import Send, soil
from examples.flights.replay import Replay
from services.cli.settle import wait_settled
from services.cli.supervise import Supervisor

STAGES = {"cleaning": ("clean",), "scoring": ("score",), "learner": ("join", "train"), "drift": ("summarise", "detect")}

_PACKAGES = ("aiokafka", "faust-streaming", "msgspec", "river")


def ten(events: int) -> Iterator[Send]:
    """Ten standard normal numbers an event; the label, an hour later, follows their sum."""
    source = random.Random(1)  # noqa: S311 - test data
    start = datetime(2013, 1, 1, tzinfo=UTC)
    for number in range(events):
        at = start + timedelta(seconds=number)
        values = {f"x{i}": source.gauss(0, 1) for i in range(10)}
        key = f"{number:08d}"
        label = sum(values.values()) + source.gauss(0, 2) > 0
        event = {"id": key, "at": at.isoformat(), **values}
        told = {"id": key, "at": (at + timedelta(hours=1)).isoformat(), "label": label}
        yield Send(int(at.timestamp()), "event", key.encode(), json.dumps(event).encode())
        yield Send(int(at.timestamp()), "label", key.encode(), json.dumps(told).encode())


def scrape(url: str) -> dict[str, float]:
    """CPU seconds, resident bytes, and records read by stage."""
    found: dict[str, float] = {}
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if match := re.match(r"process_(cpu_seconds_total|resident_memory_bytes) (\S+)", line):
            found[match[1]] = float(match[2])
        elif match := re.match(r'rivermill_records_in_total\{.*stage="(\w+)".*\} (\S+)', line):
            found[match[1]] = found.get(match[1], 0.0) + float(match[2])
    return found


async def measure(pipeline: Path, sends: Iterator[Send], speed: float, folder: Path) -> list[str]:
    """The table as Markdown."""
    supervisor = Supervisor(pipeline, folder, say=print)
    await supervisor.start()
    try:
        urls = {service: supervisor.endpoints[service] for service in STAGES}
        before = {service: await asyncio.to_thread(scrape, url) for service, url in urls.items()}
        deployment = supervisor.deployment
        began = time.monotonic()
        replay = Replay(deployment.settings.kafka(), sends, deployment.name, speed)
        await replay.run()
        sent = time.monotonic() - began
        settled = await wait_settled(deployment, 900)
        seconds = time.monotonic() - began
        print(f"\nsent in {sent:.1f} s, all worked off after {seconds:.1f} s (settled: {settled})")
        lines = [
            "| service | records | CPU s | µs a record | records a second and core | resident MB |",
            "|---|---|---|---|---|---|",
        ]
        for service, url in urls.items():
            after = await asyncio.to_thread(scrape, url)
            records = sum(after.get(stage, 0) - before[service].get(stage, 0) for stage in STAGES[service])
            cpu = after["cpu_seconds_total"] - before[service]["cpu_seconds_total"]
            memory = after["resident_memory_bytes"] / 1e6
            us = cpu / max(records, 1) * 1e6
            lines.append(f"| {service} | {records:,.0f} | {cpu:.2f} | {us:.1f} | {1e6 / us:,.0f} | {memory:.0f} |")
        others = versions.broker() if supervisor.broker is not None else []  # one of somebody else's tells no version
        return [*lines, "", *results.circumstances("stages", _PACKAGES, others)]
    finally:
        await supervisor.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description=__doc__)
    parser.add_argument("--pipeline", choices=("flights", "ten"), default="flights")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--no-labels", action="store_true", help="events only: scoring swaps no live parameters")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Path("examples/flights/pipeline.toml")
        sends = soil(flights(limit=options.events), 0.0, kilometres=False)
        if options.pipeline == "ten":
            pipeline = Path(folder) / "ten.toml"
            pipeline.write_text(plain())
            sends = ten(options.events)
        if options.no_labels:
            sends = (send for send in sends if send.kind == "event")
        lines = asyncio.run(measure(pipeline, sends, float("inf"), Path(folder) / "data"))
    print("\n".join(lines))
    if options.write:
        results.put("stages", lines)


if __name__ == "__main__":
    main()
