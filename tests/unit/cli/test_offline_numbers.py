"""The numbers of a pipeline file: those that the checks let through are numbers that every stage can work with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import isfinite

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.alerts import Alert
from schemas.events import CleanEvent
from schemas.examples import Record as Logged
from schemas.outcomes import Outcome
from schemas.predictions import Prediction
from schemas.summaries import Summary
from services.cli.offline import Kind, Offline, Raw, Record
from services.domain.encodings import names as encoded_names
from services.domain.plan import plan_of
from services.domain.spec import SpecError, parse
from services.drift.core.detect import Detect
from tests.unit.drift.streams import core as summarise

_FILE = """
[pipeline]
name = "p"
task = "{task}"
[topics]
partitions = 1
[event]
id = "id"
time = "at"
clock = "replay"
dedupe_ids = {dedupe_ids}
[label]
id = "id"
value = "y"
time = "at"
horizon = "10m"
on_expiry = {on_expiry}
max_waiting = {max_waiting}
[features.plain]
type = "number"
missing = {missing}
[features.bounded]
type = "number"
range = [{least}, {greatest}]
outside = "clip"
[features.scaled]
type = "number"
unit = {unit}
missing = "mean"
[features.odd]
type = "number"
missing = "median"
outliers = {{ method = "mad", threshold = {threshold}, then = "clip" }}
[features.kind]
type = "category"
max_values = {max_values}
[[encodings]]
by = ["kind"]
half_life = [{half_life}, 7]
[[model.candidates]]
name = "adagrad"
model = "{model}"
learning_rate = {learning_rate}
l2 = {l2}
[[model.candidates]]
name = "sgd"
model = "{model}"
optimizer = "sgd"
learning_rate = {sgd_rate}
l2 = {sgd_l2}
[[model.candidates]]
name = "tree"
model = "hoeffding_adaptive_tree"
seed = {seed}
[snapshots]
every_examples = {every_examples}
[drift]
false_alarms_per_day = {false_alarms}
block = {{ events = {block}, at_least = "1ms", at_most = "20m" }}
"""
_PLAIN = {
    "dedupe_ids": 100, "on_expiry": 60, "max_waiting": 100, "missing": -1, "least": 0, "greatest": 10, "unit": 2.5,
    "threshold": 8, "max_values": 2, "half_life": 35, "learning_rate": 0.03, "l2": 0, "sgd_rate": 0.01, "sgd_l2": 0.1,
    "seed": 1, "every_examples": 10, "false_alarms": 0.1, "block": 16,
}  # fmt: skip
_EDGES = [
    sign * number
    for number in (1e300, 1e150, 1.1e100, 1e100, 1e99, 1e12, 1e9, 2.1, 1.9, 0.1, 1e-9, 1e-100, 1e-101, 1e-300, 5e-324)
    for sign in (1, -1)
]
_COUNTS = {"dedupe_ids", "max_waiting", "max_values", "seed", "every_examples", "block"}
_NUMBERS = {
    name: st.sampled_from([1, 2, 2**53, 2**63 - 1, -1, 0]) if name in _COUNTS else st.sampled_from(_EDGES)
    for name in _PLAIN
}
_WRITTEN = st.lists(
    st.sampled_from(sorted(_PLAIN)).flatmap(lambda name: st.tuples(st.just(name), _NUMBERS[name])),
    min_size=1,
    max_size=3,
).map(dict)
_SENT = st.one_of(st.none(), st.floats(-10, 10), st.sampled_from([1e100, -1e100, 1e99, 1e-300, 1e101]))
_EVENTS = 80
_START = datetime(2024, 1, 1, tzinfo=UTC)
_STREAMS = {
    "events.clean": CleanEvent, "predictions": Prediction, "outcomes": Outcome, "examples": Logged, "summaries": Summary,
    "alerts": Alert,
}  # fmt: skip


def _written(task: str, **numbers: float) -> str:
    known: dict[str, object] = {"task": task, "model": "linear_regression", **_PLAIN, **numbers}
    if task == "binary":
        known |= {"model": "logistic_regression", "on_expiry": "true"}
    return _FILE.format(**known)


def _raw(stream: Kind, index: int, **fields: object) -> Raw:
    at = _START + timedelta(minutes=index)
    value = msgspec.json.encode({"id": f"e{index}", "at": at, **fields})
    return Raw(stream, 1_700_000_000_000 + index, f"e{index}".encode(), value)


def _records(task: str, sent: list[float | None], labels: list[float | None]) -> Iterator[Raw]:
    """Some events, and labels of most; the numbers of a few are as far out as cleaning lets them be."""
    for index in range(_EVENTS):
        names = ("plain", "bounded", "scaled", "odd")
        fields = {name: sent[(index * 3 + place) % len(sent)] for place, name in enumerate(names)}
        yield _raw("event", index, kind="abc"[index % 3], **fields)
        if index % 7:
            value = labels[index % len(labels)]
            yield _raw("label", index, y=bool(value) if task == "binary" else value)


@pytest.mark.parametrize("task", ["binary", "regression"])
@settings(max_examples=60)
@given(written=_WRITTEN, sent=st.lists(_SENT, min_size=2, max_size=7), labels=st.lists(_SENT, min_size=2, max_size=4))
@example(written={"missing": 1e200}, sent=[None, 1.0], labels=[1.0])
@example(written={"on_expiry": 1e300}, sent=[1.0], labels=[1.0])
@example(written={"sgd_rate": 1e300}, sent=[1.0, 3.0], labels=[1.0, 3.0])
@example(written={"sgd_l2": 1e9}, sent=[1.0, 3.0], labels=[1.0, 3.0])
@example(written={"half_life": 7.0000001}, sent=[1.0], labels=[1.0])
def test_every_stage_can_work_with_the_numbers_of_a_file_that_is_accepted(
    task: str, written: dict[str, float], sent: list[float | None], labels: list[float | None]
) -> None:
    """Whatever numbers a pipeline file has, it is refused, or all its stages run over events and labels without an
    error, with finite scores, measures and state.
    """
    try:
        spec = parse(_written(task, **written))
    except SpecError:
        return
    seen: dict[str, list[Record]] = defaultdict(list)
    assert all(len(set(names)) == len(names) for names in encoded_names(plan_of(spec)).values())
    offline = Offline(spec, observe=lambda stream, record: seen[stream].append(record))
    assert sum(offline.run(_records(task, sent, labels)))
    offline.close()
    made = [msgspec.json.decode(record.value or b"", type=Prediction) for record in seen["predictions"]]
    assert [[it.candidate for it in each.challengers] for each in made] == [["sgd", "tree"]] * _EVENTS
    for stream, kind in _STREAMS.items():
        for record in seen[stream]:
            msgspec.json.decode(record.value or b"", type=kind)  # a number that is not finite is written as null
    rules = {name.rpartition(".")[2] for total in offline.totals().values() for name in total if "deadletter" in name}
    assert rules <= {"label_missing", "label_invalid"}
    measured = offline.fold.metrics()
    assert {measured[name]["examples"] for name in ("adagrad", "sgd")} == {offline.train.totals["examples"]}
    assert all(isfinite(value) for measures in measured.values() for value in measures.values())
    lane = summarise(spec)
    lane.restore(offline.summarisers[0].standing().data, {})
    Detect(spec).restore(offline.detect.standing().data, {})
