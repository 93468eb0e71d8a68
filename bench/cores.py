"""What each stage's core costs by itself, without Kafka: CPU microseconds a record, on one core of this machine.

Replays flights through the whole pipeline in one process, keeps what each stage read, and feeds it to each core again,
in batches as a busy lane gets them; the best of several runs counts. Scoring and training are measured by model, cleaning
with tidy and with soiled records and beside decoding and encoding alone, scoring by the number of features, the join with
its predictions in memory and on disk, and the join's memory by the number of labels it awaits. The memory of a row is what
one core adds to a process of its own from before it is made until it has processed all records, which come as a consumer hands them over.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from bench import awaited, results, ten
from bench.goals import Goal
from bench.latency.load import raw_events
from bench.row import Row, measured
from schemas.codec import encode
from schemas.examples import Control
from services.cleaning.core.clean import Clean, Inputs
from services.cli import backtest_input
from services.cli.offline import Offline, Raw, Record
from services.domain import snapshot
from services.domain.catalogue import is_linear
from services.domain.served import Served
from services.domain.spec import Spec, canonical, parse, spec_hash
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from services.learner.core.join import Join
from services.learner.core.train import Train
from services.runtime import interpreter
from services.scoring.core import Score

_FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
_KEY = b"a key for the benchmark"
_DIRT = 0.05
_TREES_SHARE = 10
"""Trees are measured on so much less: they cost so much more."""
_FEATURES = (10, 50, 200)
_TEN, _FLOWN = "ten numbers", "flights"
_TIDY, _FLOOR = "{}, tidy", "{}: decode and encode alone"
CLEANING = Goal("decode and encode alone", _TIDY, _FLOOR, "cpu", 2.5)


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
        self.blobs = {taken.candidate: taken.blob for taken in offline.fold.snapshots()}

    def of(self, *streams: str) -> list[Record]:
        """The records of these streams as they came."""
        return [record for stream, record in self._streams if stream in streams]


def cleaner(spec: Spec) -> Callable[[], Clean]:
    name = spec.pipeline.name
    inputs = Inputs(events=f"{name}.events.raw", labels=f"{name}.labels.raw", rekeyed=f"{name}.rekeyed")
    return partial(Clean, spec, 0, 1, inputs)


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
    yield measured("cleaning", _FLOOR.format(_FLOWN), partial(Floor, spec), tidy, runs)
    yield measured("cleaning", _TIDY.format(_FLOWN), cleaner(spec), tidy, runs)
    yield measured("cleaning", f"{_FLOWN}, {_DIRT:.0%} soiled", cleaner(spec), soiled, runs)


def plain_cleaning(count: int, runs: int) -> Iterator[Row]:
    """Ten numbers that are as they should be, and the floor of that."""
    spec = parse(ten.pipeline("ten", 1))
    read = [Record("ten.events.raw", 0, offset, 0, id_, value) for offset, (id_, value) in enumerate(raw_events(count))]
    yield measured("cleaning", _FLOOR.format(_TEN), partial(Floor, spec), read, runs)
    yield measured("cleaning", _TIDY.format(_TEN), cleaner(spec), read, runs)


def scorer(blob: bytes) -> Score:
    """Scoring that has taken up this snapshot."""
    part = snapshot.read(blob, snapshot.sign(blob, _KEY), (_KEY,)).part(1)
    core = Score(0, 1, binary=True)
    core.serve(Served(part, [], part.encodings, part.ref.examples_offset))
    return core


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
        yield measured("scoring", what, partial(scorer, log.blobs[candidate.name]), events, runs)
        spec, make = alone(log, candidate.name)
        control = Control("018f0000-0000-7000-8000-000000000000", spec_hash(spec), canonical(spec))
        first = Record(f"{spec.pipeline.name}.examples", 0, 0, 0, b"control", encode(control))
        rest = [msgspec.structs.replace(it, offset=number) for number, it in enumerate(examples, 1)]
        yield measured("train", what, make, [first, *rest], runs)


def others(log: Log, runs: int) -> Iterator[Row]:
    """Join and drift."""
    spec, name = log.spec, log.spec.pipeline.name
    topics = f"{name}.predictions", f"{name}.labels.clean"
    read = log.of("predictions", "labels.clean")
    with TemporaryDirectory() as folder:
        for what, most in (("predictions in memory", len(read)), ("predictions on disk", 0)):
            make = partial(awaited.joiner, spec, topics, folder, most)
            yield measured("join", what, make, read, runs, after=_expire)
    read = log.of("predictions", "examples")
    yield measured("summarise", "", partial(Summarise, spec, 0, 1, topics[0], f"{name}.examples"), read, runs)
    read = log.of("summaries")
    yield measured("detect", "", partial(Detect, spec), read, runs)


def _expire(core: Join) -> None:
    while (mark := core.expirable()) is not None:
        core.expire(mark)


def by_features(events: int, runs: int) -> Iterator[Row]:
    """Scoring with a linear model of ever more numbers."""
    for count in _FEATURES:
        numbers = ten.names(count)
        spec = parse(ten.pipeline("ten", 1, numbers))
        blob = ten.trained(spec, examples=1000)
        made = ten.clean_events(events, spec_hash(spec), numbers=numbers)
        records = [Record("ten.events.clean", 0, offset, 0, id_, value) for offset, (id_, value) in enumerate(made)]
        yield measured("scoring", f"logistic_regression, {count} numbers", partial(scorer, blob), records, runs)


def raws(days: int, dirt: float) -> list[Raw]:
    return list(backtest_input.flights(days, dirt, 2013)[0])


def tables(options: argparse.Namespace) -> list[str]:
    """All of it, as Markdown; each line is printed as it comes."""
    lines = [
        "| stage | | records | CPU µs a record | records a second and core | memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    found = {}
    for row in rows(options):
        found[row.what] = row.us
        line = f"| {row.stage} | {row.what} | {row.records:,} | {row.us:.1f} | {1e6 / row.us:,.0f} | {row.memory:.1f} |"
        print(line, flush=True)
        lines.append(line)
    goals = cleaning_goals(found)
    print("\n" + "\n".join(goals) + "\n")
    memory = []
    for line in awaited.table(options.pending):
        print(line, flush=True)
        memory.append(line)
    return [*goals, "", *lines, "", *memory]


def cleaning_goals(found: Mapping[str, float]) -> list[str]:
    """Cleaning of clean records against the floor, by workload; from microseconds by row."""
    lines = [f"| cleaning of clean records, against {CLEANING.what} | goal | measured | |", "|---|---|---|---|"]
    for what in (_TEN, _FLOWN):
        ratio = found[CLEANING.ours.format(what)] / found[CLEANING.theirs.format(what)]
        lines.append(f"| {what} | {CLEANING.asked()} | {ratio:.1f}× | {CLEANING.verdict(ratio)} |")
    return lines


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
    parser.add_argument("--pending", type=int, default=awaited.COUNTS[-1], help="labels awaited at most (1000000)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()
    interpreter.tune()  # as the services do
    lines = tables(options)
    if options.write:
        told = results.circumstances("cores", ("msgspec", "numpy", "river"))
        results.put("cores", [*lines, "", *told])


if __name__ == "__main__":
    main()
