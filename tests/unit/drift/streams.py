"""Synthetic predictions, examples and summaries."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.alerts import Alert
from services.domain.records import Output
from services.domain.spec import Spec, parse
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from tests.unit.records import Rec

PREDICTIONS, EXAMPLES, SUMMARIES = "p.predictions", "p.examples", "p.summaries"
START = datetime(2024, 1, 1, tzinfo=UTC)
MODEL = {"name": "p", "candidate": "logistic", "version": 1, "examples_offset": 0}


def spec(numbers: Sequence[str] = ("a", "b"), partitions: int = 1, task: str = "binary") -> Spec:
    features = "".join(f'[features.{name}]\ntype = "number"\n' for name in numbers)
    return parse(f"""
[pipeline]
name = "p"
task = "{task}"
[topics]
partitions = {partitions}
[event]
id = "id"
time = "t"
[label]
id = "id"
value = "y"
time = "t"
horizon = "1d"
{features}
[features.kind]
type = "category"
[[model.candidates]]
name = "logistic"
model = "{"logistic" if task == "binary" else "linear"}_regression"
""")


def prediction(features: dict[str, Any], offset: int, minute: float, lane: int = 0, score: float = 0.3) -> Rec:
    value = {
        "event_id": str(offset), "time": START + timedelta(minutes=minute), "score": score, "prediction": False,
        "model": MODEL, "encodings_offset": 0, "challengers": [], "features": features, "encoded": {}, "spec": "s",
    }  # fmt: skip
    return Rec(PREDICTIONS, lane, offset, 1000 + offset, b"k", msgspec.json.encode(value))


def example(offset: int, score: float, label: Any, corrects: Any = None) -> Rec:
    time = START + timedelta(minutes=offset)
    challengers = [{"candidate": "sgd", "version": 1, "examples_offset": 0, "score": 0.5}]
    value = {
        "kind": "example", "event_id": str(offset), "time": time, "label_time": time, "features": {}, "encoded": {},
        "label": label, "score": score, "model": MODEL, "challengers": challengers, "spec": "s", "corrects": corrects,
    }  # fmt: skip
    return Rec(EXAMPLES, 0, offset, 1000 + offset, b"k", msgspec.json.encode(value))


def control(offset: int) -> Rec:
    value = {"kind": "control", "log_id": "x", "spec": "s", "pipeline": "{}"}
    return Rec(EXAMPLES, 0, offset, 0, b"k", msgspec.json.encode(value))


def core(pipeline: Spec, lane: int = 0) -> Summarise:
    return Summarise(pipeline, lane, pipeline.topics.partitions, PREDICTIONS, EXAMPLES)


def stream(
    events: int, shift: Callable[[int], dict[str, float]], seed: int = 1, numbers: Sequence[str] = ("a", "b")
) -> list[Rec]:
    """Normal features, one event a minute; ``shift`` adds to some of them at an event's index."""
    rng = random.Random(seed)  # noqa: S311 - a seeded test stream
    records = []
    for i in range(events):
        added = shift(i)
        features: dict[str, Any] = {name: rng.gauss(100, 10) + added.get(name, 0.0) for name in numbers}
        records.append(prediction(features | {"kind": "x"}, i, i))
    return records


def summaries(pipeline: Spec, records: Sequence[Rec]) -> list[Rec]:
    out = core(pipeline).process(records, 0).sends.get(("summaries", 0), [])
    return [Rec(SUMMARIES, 0, i, record.timestamp, record.key, record.value) for i, record in enumerate(out)]


def alerts(output: Output) -> list[Alert]:
    return [msgspec.json.decode(out.value or b"", type=Alert) for out in output.sends.get(("alerts", 0), [])]


def detected(pipeline: Spec, records: Sequence[Rec]) -> list[Alert]:
    return alerts(Detect(pipeline).process(summaries(pipeline, records), 0))
