"""What each stage's core costs by itself, without Kafka: CPU microseconds a record, on one core of this machine.

Replays flights through the whole pipeline in one process, keeps what each stage read, and feeds it to each core again,
in batches as a busy lane gets them; the best of several runs counts. Scoring and training are measured by model, cleaning
with tidy and with soiled records and beside decoding and encoding alone, scoring by the number of features, the join with
its predictions in memory and on disk, and the join's memory by the number of labels it awaits.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple

import msgspec

from bench import results, ten
from bench.latency.load import raw_events
from schemas.codec import encode
from schemas.events import CleanEvent, Value
from schemas.examples import Control
from schemas.predictions import ModelRef, Prediction
from services.cleaning.core.clean import Clean, Inputs
from services.cli import backtest_input
from services.cli.offline import Offline, Raw, Record
from services.domain import snapshot
from services.domain.catalogue import is_linear
from services.domain.served import Part, Served
from services.domain.spec import Spec, canonical, parse, spec_hash
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from services.learner.core.join import Join
from services.learner.core.train import Train
from services.learner.core.values import MOST_IN_MEMORY
from services.learner.disk import Disk
from services.runtime import interpreter
from services.scoring.core import Score

_FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
_BATCH = 1000
_NOW = 2**42  # later than every record: the clock of a replay is in the events
_DIRT = 0.05
_TREES_SHARE = 10
"""Trees are measured on so much less: they cost so much more."""
_FEATURES = (10, 50, 200)
_PENDING = (10_000, 100_000, 1_000_000)


class Row(NamedTuple):
    """A line of the table."""

    stage: str
    what: str
    records: int
    us: float


class Log:
    """What went through a pipeline: what each stage read, in order, by the streams it reads."""

    def __init__(self, spec: Spec, raws: Sequence[Raw]) -> None:
        self.spec = spec
        self._streams: list[tuple[str, Record]] = []
        offline = Offline(spec, 1, observe=lambda stream, record: self._streams.append((stream, record)))
        self.raw = [
            Record(f"{spec.pipeline.name}.{raw.kind}s.raw", 0, number, raw.timestamp, raw.key, raw.value)
            for number, raw in enumerate(raws)
        ]
        for _ in offline.run(raws):
            pass
        offline.close()
        self.spec = offline.spec
        self.parts = offline.fold.parts(offline.train.versions)

    def of(self, *streams: str) -> list[Record]:
        """The records of these streams as they came."""
        return [record for stream, record in self._streams if stream in streams]


def best(
    make: Callable[[], Any], records: Sequence[Any], runs: int, after: Callable[[Any], None] | None = None
) -> float:
    """CPU microseconds a record: the best run of a fresh core over all records, batch by batch."""
    fastest = float("inf")
    for _ in range(runs):
        core = make()
        gc.collect()
        began = time.process_time()
        for start in range(0, len(records), _BATCH):
            core.process(records[start : start + _BATCH], _NOW)
            if after:
                after(core)
        fastest = min(fastest, time.process_time() - began)
    return fastest / len(records) * 1e6


def cleaner(spec: Spec) -> Callable[[], Clean]:
    name = spec.pipeline.name
    inputs = Inputs(events=f"{name}.events.raw", labels=f"{name}.labels.raw", rekeyed=f"{name}.rekeyed")
    return lambda: Clean(spec, 0, 1, inputs)


class Floor:
    """Decoding the raw event and encoding the clean one, typed, and nothing between: what cleaning is compared with."""

    def __init__(self, spec: Spec) -> None:
        identity, moment = spec.event.id, spec.event.time
        kinds: dict[str, Any] = {"number": float | None, "boolean": bool | None}
        fields: list[Any] = [(identity, str), (moment, str)]
        fields += [(name, kinds.get(feature.type, str | None), None) for name, feature in spec.features.items()]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Raw", fields, gc=False)).decode
        self._clean = msgspec.defstruct(
            "Clean", [*fields, ("changes", list[str], msgspec.field(default_factory=list))], gc=False
        )
        self._names = [name for name, *_ in fields]

    def process(self, batch: Sequence[Record], _now: int) -> Any:
        decode, clean, names = self._decode, self._clean, self._names
        return [
            encode(clean(*[getattr(raw, name) for name in names])) for raw in [decode(it.value or b"") for it in batch]
        ]


def cleaning(spec: Spec, days: int, runs: int) -> Iterator[Row]:
    """Tidy, soiled, and the floor; events alone, so that all three do the same."""
    tidy = [it for it in Log(spec, raws(days, 0.0)).raw if it.topic.endswith("events.raw")]
    soiled = [it for it in Log(spec, raws(days, _DIRT)).raw if it.topic.endswith("events.raw")]
    yield Row("cleaning", "flights: decode and encode alone", len(tidy), best(lambda: Floor(spec), tidy, runs))
    yield Row("cleaning", "flights, tidy", len(tidy), best(cleaner(spec), tidy, runs))
    yield Row("cleaning", f"flights, {_DIRT:.0%} soiled", len(soiled), best(cleaner(spec), soiled, runs))


def plain_cleaning(count: int, runs: int) -> Iterator[Row]:
    """Ten numbers that are as they should be, and the floor of that."""
    spec = parse(ten.pipeline("ten", 1))
    read = [Record("ten.events.raw", 0, offset, 0, id_, value) for offset, (id_, value) in enumerate(raw_events(count))]
    yield Row("cleaning", "ten numbers: decode and encode alone", count, best(lambda: Floor(spec), read, runs))
    yield Row("cleaning", "ten numbers", count, best(cleaner(spec), read, runs))


def scorer(part: Part, *, binary: bool = True) -> Callable[[], Score]:
    def made() -> Score:
        core = Score(0, 1, binary=binary)
        core.serve(Served(part, [], part.encodings, part.ref.examples_offset))
        return core

    return made


def alone(log: Log, name: str) -> tuple[Spec, Callable[[], Train]]:
    """The pipeline with one candidate, and how to make a learner of it."""
    chosen = [it for it in log.spec.model.candidates if it.name == name]
    model = msgspec.structs.replace(log.spec.model, candidates=chosen)
    return msgspec.structs.replace(log.spec, model=model), Train


def by_model(log: Log, runs: int) -> Iterator[Row]:
    """Scoring and training, each with one model alone."""
    events, examples = log.of("events.clean"), log.of("examples")[1:]
    for candidate in log.spec.model.candidates:
        what = f"{candidate.model}, {candidate.optimizer}" if is_linear(candidate) else str(candidate.model)
        yield Row("scoring", what, len(events), best(scorer(log.parts[candidate.name]), events, runs))
        spec, make = alone(log, candidate.name)
        control = Control("018f0000-0000-7000-8000-000000000000", spec_hash(spec), canonical(spec))
        first = Record(f"{spec.pipeline.name}.examples", 0, 0, 0, b"control", encode(control))
        rest = [msgspec.structs.replace(it, offset=number) for number, it in enumerate(examples, 1)]
        yield Row("train", what, len(rest), best(make, [first, *rest], runs))


def others(log: Log, runs: int) -> Iterator[Row]:
    """Join and drift."""
    spec, name = log.spec, log.spec.pipeline.name
    topics = f"{name}.predictions", f"{name}.labels.clean"
    read = log.of("predictions", "labels.clean")
    with TemporaryDirectory() as folder:
        for what, most in (("predictions in memory", len(read)), ("predictions on disk", 0)):
            yield Row("join", what, len(read), best(partial(joiner, spec, topics, folder, most), read, runs, _expire))
    read = log.of("predictions", "examples")
    yield Row(
        "summarise", "", len(read), best(lambda: Summarise(spec, 0, 1, topics[0], f"{name}.examples"), read, runs)
    )
    read = log.of("summaries")
    yield Row("detect", "", len(read), best(lambda: Detect(spec), read, runs))


def joiner(spec: Spec, topics: tuple[str, str], folder: str, most_in_memory: int = MOST_IN_MEMORY) -> Join:
    return Join(spec, 0, 1, *topics, store=Disk(Path(folder)), most_in_memory=most_in_memory)


def _expire(core: Join) -> None:
    while (mark := core.expirable()) is not None:
        core.expire(mark)


def by_features(events: int, runs: int) -> Iterator[Row]:
    """Scoring with a linear model of ever more numbers."""
    for count in _FEATURES:
        numbers = ten.names(count)
        spec = parse(ten.pipeline("ten", 1, numbers))
        blob = ten.trained(spec, examples=1000)
        key = b"a key for the benchmark"
        part = snapshot.read(blob, snapshot.sign(blob, key), (key,)).part(1)
        made = ten.clean_events(events, spec_hash(spec), numbers=numbers)
        records = [Record("ten.events.clean", 0, offset, 0, id_, value) for offset, (id_, value) in enumerate(made)]
        yield Row("scoring", f"logistic_regression, {count} numbers", len(records), best(scorer(part), records, runs))


class Awaited(NamedTuple):
    """For a number of labels awaited: bytes of a prediction, how many lie on disk, and bytes of memory for each."""

    labels: int
    size: int
    on_disk: int
    memory: float


def pending(most: int) -> Iterator[Awaited]:
    """Every count in a process of its own."""
    for count in (it for it in _PENDING if it <= most):
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            yield fresh.apply(_awaited, (count,))


def _awaited(count: int) -> Awaited:
    spec = parse(ten.pipeline("ten", 1))
    told = spec_hash(spec)
    sample = next(ten.clean_events(1, told))[1]
    event = msgspec.json.decode(sample, type=CleanEvent)
    features: dict[str, Value] = event.features
    ref = ModelRef("ten", "logistic", 1, 1)
    core = joiner(spec, ("ten.predictions", "ten.labels.clean"), gettempdir())
    gc.collect()
    before, size = _resident(), 0
    for start in range(0, count, _BATCH):
        batch = []
        for number in range(start, min(start + _BATCH, count)):
            at = ten.START + timedelta(milliseconds=number)
            value = encode(Prediction(f"{number:08d}", at, 0.5, True, ref, 0, [], features, {}, told))
            batch.append(Record("ten.predictions", 0, number, number, b"%08d" % number, value))
            size = len(value)
        core.process(batch, _NOW)
    gc.collect()
    return Awaited(count, size, core.ledger.values.stored, (_resident() - before) / count)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def raws(days: int, dirt: float) -> list[Raw]:
    return list(backtest_input.flights(days, dirt, 2013)[0])


def tables(options: argparse.Namespace) -> list[str]:
    """All of it, as Markdown; each line is printed as it comes."""
    lines = ["| stage | | records | CPU µs a record | records a second and core |", "|---|---|---|---|---|"]
    print("\n".join(lines))
    for row in rows(options):
        line = f"| {row.stage} | {row.what} | {row.records:,} | {row.us:.1f} | {1e6 / row.us:,.0f} |"
        print(line, flush=True)
        lines.append(line)
    memory = [
        "",
        "| labels awaited, of one lane | bytes of each prediction | on disk | memory, bytes each |",
        "|---|---|---|---|",
    ]
    memory += [
        f"| {it.labels:,} | {it.size:,} | {it.on_disk:,} | {it.memory:,.0f} |" for it in pending(options.pending)
    ]
    print("\n".join(memory))
    return [*lines, *memory]


def rows(options: argparse.Namespace) -> Iterator[Row]:
    spec = parse((_FLIGHTS / "pipeline.toml").read_text(encoding="utf-8"))
    trees = parse((_FLIGHTS / "pipeline-trees.toml").read_text(encoding="utf-8"))
    yield from plain_cleaning(20_000, options.runs)
    yield from cleaning(spec, options.days, options.runs)
    log = Log(spec, raws(options.days, 0.0))
    yield from by_model(log, options.runs)
    yield from others(log, options.runs)
    few = Log(trees, raws(max(1, options.days // _TREES_SHARE), 0.0))
    yield from (row for row in by_model(few, 1) if "tree" in row.what or "forest" in row.what)
    yield from by_features(20_000, options.runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cores", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="of flights, some 1,800 records each (30)")
    parser.add_argument("--runs", type=int, default=5, help="the best of so many counts (5)")
    parser.add_argument("--pending", type=int, default=_PENDING[-1], help="labels awaited at most (1000000)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()
    interpreter.tune()  # as the services do
    lines = tables(options)
    if options.write:
        command = f"python -m bench.cores {shlex.join(sys.argv[1:])}".strip()
        told = results.circumstances(command, sys.executable, ("msgspec", "numpy", "river"))
        results.put("cores", [*lines, "", *told])


if __name__ == "__main__":
    main()
