"""From a raw label to the first prediction made with it, in the whole pipeline at work.

Starts everything on the embedded broker, untrained, and sends events of ten numbers and, some seconds after each, its
label, at a steady rate that waits for nobody. A label's time counts from when it was due to be sent until a read_committed
consumer had the first prediction whose model had folded ``examples`` past it (``model.examples_offset``): through
cleaning, the join, training, live parameters and scoring, and the wait for the next event.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bench import goals, kafka, results, ten, versions
from bench.latency.load import following, raw_events, send
from bench.latency.measures import Quantiles, quantiles
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal
from services.cli.scrape import Scraper
from services.cli.supervise import StartError, Supervisor
from services.cli.topic_batches import Keyed
from services.runtime.settings import Settings

GOAL_MS = 150.0
"""At the median."""
_LATER_S = 3.0
"""From an event to its label: longer than its prediction takes."""
_TAIL_S = 5.0
"""Of events after the last label, for it to be seen in their predictions."""
_RATES = (200.0, 1000.0)
_PACKAGES = ("aiokafka", "faust-streaming", "msgspec", "river")


class FreshnessError(RuntimeError):
    """Labels that no prediction was made with."""


class Fresh(NamedTuple):
    """Of all labels, in ms; and the median of scoring's own metric, in seconds: of the newest label of every state that it
    took up, since the beginning.
    """

    labels: Quantiles
    told: float | None


class _State(msgspec.Struct):
    examples_offset: int


class _Prediction(msgspec.Struct):
    model: _State


@dataclass
class Made:
    """Predictions in the order they came: when, and up to where the model had folded ``examples``."""

    at: array[float] = field(default_factory=lambda: array("d"))
    folded: array[int] = field(default_factory=lambda: array("q"))

    def since(self, due: Sequence[float], offsets: Sequence[int]) -> list[float]:
        """Seconds from when each label was due to the first prediction made with its example; NaN where there is none.

        ``offsets`` are those of the examples; a model folded up to an offset has not learned from the one that lies there.
        """
        first = np.searchsorted(np.maximum.accumulate(np.asarray(self.folded)), offsets, side="right")
        return list(np.append(np.asarray(self.at), np.nan)[first] - np.asarray(due))


@asynccontextmanager
async def predictions(settings: Settings, topic: str, partitions: int) -> AsyncIterator[Made]:
    """The predictions that come while the block runs."""
    made, decode = Made(), msgspec.json.Decoder(_Prediction).decode

    def take(record: Any, now: float) -> None:
        made.at.append(now)
        made.folded.append(decode(record.value).model.examples_offset)

    async with following(settings, topic, partitions, take):
        yield made


def labels(events: Sequence[Keyed]) -> list[Keyed]:
    """A label for each, in turn true and false, known when the event was."""
    told = []
    for number, (key, value) in enumerate(events):
        event = msgspec.json.decode(value)
        told.append((key, msgspec.json.encode({"id": event["id"], "at": event["at"], "label": number % 2 == 0})))
    return told


async def measured(supervisor: Supervisor, rate: float, wanted: argparse.Namespace) -> Fresh:
    """Of the labels after the warm-up, at so many events and labels a second."""
    labelled = int(rate * (wanted.warm_up + wanted.seconds))
    events = raw_events(labelled + int(rate * (_LATER_S + _TAIL_S)))
    late = labels(events[:labelled])
    await supervisor.start()
    deployment = supervisor.deployment
    settings, topics = deployment.settings, {topic.stream: topic for topic in deployment.table()}
    async with predictions(settings, topics["predictions"].name, topics["predictions"].partitions) as made:
        sending = asyncio.create_task(send(settings, deployment.events_topic, events, rate))
        await asyncio.sleep(_LATER_S)
        begin = await send(settings, deployment.labels_topic, late, rate)
        await sending
        await asyncio.sleep(1.0)  # the last predictions come
    found = await kafka.committed(settings, topics["examples"].name, 1)
    learned = {key: offset for offset, key, _ in found[0]}
    numbers = range(int(rate * wanted.warm_up), labelled)
    offsets = [learned.get(late[number][0] or b"", 2**62) for number in numbers]
    seconds = made.since([begin + number / rate for number in numbers], offsets)
    if lost := int(np.count_nonzero(np.isnan(seconds))):
        raise FreshnessError(f"{lost:,} of {len(numbers):,} labels at {rate:,.0f}/s are in no prediction's model")
    scraper = Scraper(supervisor.endpoints)
    try:
        return Fresh(quantiles(seconds), (await scraper.sample()).freshness_median_s)
    finally:
        await scraper.close()


def row(rate: float, found: Fresh) -> str:
    """A line of the table."""
    labels = ", ".join(f"{each:.0f}" for each in found.labels)
    told = f"{found.told * 1000:.0f} ms" if found.told is not None else ""
    verdict = goals.at_most(found.labels.p50, GOAL_MS)
    return f"| {rate:,.0f} | p50 ≤ {GOAL_MS:g} ms | {labels} ms | {verdict} | {told} |"


async def one(supervisor: Supervisor, rate: float, wanted: argparse.Namespace) -> Fresh | None:
    """None when a signal ended it."""
    return await until_signal(measured(supervisor, rate, wanted), supervisor.stop())


def run(wanted: argparse.Namespace) -> list[str] | None:
    """The table as Markdown; every load meets a pipeline of its own. None when it was interrupted."""
    lines = [
        "| events/s, and as many labels | goal | raw label to prediction: p50, p99, p99.9 | | scoring's own metric, p50 |",
        "|---|---|---|---|---|",
    ]
    for rate in wanted.rates:
        with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
            pipeline = Path(folder) / "ten.toml"
            pipeline.write_text(ten.pipeline(), encoding="utf-8")
            env = {name: value for name, value in os.environ.items() if name != "RIVERMILL_BROKER"}
            supervisor = Supervisor(pipeline, Path(folder) / "data", env=env, say=print)
            found = asyncio.run(one(supervisor, rate, wanted))
        if found is None:
            return None
        lines.append(row(rate, found))
        print(lines[-1], flush=True)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.freshness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=float, nargs="+", default=_RATES, help="events a second (200 1000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of labels that are measured (30)")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds of labels before (10)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    wanted = parser.parse_args()
    try:
        lines = run(wanted)
    except (BrokerError, StartError, FreshnessError) as error:
        sys.exit(f"error: {error}")
    if lines is None:
        return 130
    lines += [
        "", f"{wanted.seconds:g} s of labels after {wanted.warm_up:g} s to warm up; all services, the broker, and what sends "
        "and reads on the same cores. Scoring's own metric (`rivermill_freshness_seconds`) is of the newest label of every state "
        "taken up, the warm-up included.", "",
        *results.circumstances("freshness", _PACKAGES, versions.broker()),
    ]  # fmt: skip
    print("\n" + "\n".join(lines))
    if wanted.write:
        results.put("freshness", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
