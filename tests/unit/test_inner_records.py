"""What no stage of ours wrote, on the topics between the stages: random bytes, and golden records with damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import deadletter
from schemas.codec import encode
from services.domain.records import Core, Out, Output
from services.domain.served import Served
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from services.learner.core.fold import Fold
from services.learner.core.train import Train
from services.scoring.core import Score
from tests.unit.drift import streams
from tests.unit.learner import join_lane
from tests.unit.records import Rec
from tests.unit.stream import control, examples, spec

_ROOT = Path(__file__).parents[2]
_GOLDEN = _ROOT / "schemas" / "golden"
_ODD = st.sampled_from([
    None, True, 0, -1, 10, 2**48, 2**53, 2**63, 2**70, -(2**70), 0.5, 1e100, -1e150, 1e300, -1e308, "", "x", "é\0", [], {},
    [1e308], "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2024-01-01T00:00:00",
    "2013-02-14T14:05:00Z",
])  # fmt: skip
_SPLINTERS = st.sampled_from([b"\xff", b"\\ud800", b'"', b"}", b"[" * 2000, b"1e999", b"NaN", b"\0", b""])
_STAMPS = st.sampled_from([-1, 0, 1_700_000_000_000, 2**62, -(2**62)])


@cache
def _golden(streams: tuple[str, ...]) -> list[bytes]:
    """The golden records; the factory that one names is not there, which is no fault of a record: a tree is."""
    found = [path.read_bytes() for stream in streams for path in sorted((_GOLDEN / stream).glob("*.json"))]
    tree = rb"\"model\":\"hoeffding_adaptive_tree\""
    return [
        value.replace(rb"\"factory\":\"shop.models:forest\"", rb"\"factory\":null").replace(rb"\"model\":null", tree)
        for value in found
    ]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


@st.composite
def _damaged(draw: st.DrawFn, streams: tuple[str, ...]) -> bytes:
    """A golden record with up to three values replaced or gone, then perhaps a splinter in its bytes."""
    record = json.loads(draw(st.sampled_from(_golden(streams))))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(_places(record)[1:]))
        at = record
        for step in way:
            at = at[step]
        if draw(st.booleans()) and isinstance(at, dict):
            del at[last]
        else:
            at[last] = deepcopy(draw(_ODD))
        if not record:
            break
    value = json.dumps(record).encode()
    if draw(st.booleans()):
        place, width = draw(st.integers(0, len(value))), draw(st.integers(0, 3))
        value = value[:place] + draw(_SPLINTERS) + value[place + width :]
    return value


def _values(*streams: str) -> st.SearchStrategy[list[tuple[bytes | None, int]]]:
    value = st.one_of(_damaged(streams), _damaged(streams), st.binary(max_size=40), st.none())
    return st.lists(st.tuples(value, _STAMPS), min_size=1, max_size=12)


def _known(*streams: str) -> list[tuple[bytes | None, int]]:
    """What has once ended a stage: golden records of the year 1, and with bytes that are no UTF-8."""
    golden = _golden(streams)
    old = [re.sub(rb'(_?time|detected_at|at)":"[^"]*"', rb'\1":"0001-01-01T00:00:00+14:00"', value) for value in golden]
    return [(value, 0) for value in (*old, *(value[:20] + b"\xff" + value[20:] for value in golden))]


def _rules(stage: str) -> set[str]:
    """The rules that docs/cleaning-rules.md names for a stage."""
    table = (_ROOT / "docs" / "cleaning-rules.md").read_text("utf-8").partition("## Dead letters of the other")[2]
    row = next(line for line in table.splitlines() if line.startswith("|") and f"`{stage}`" in line)
    return set(re.findall(r"`(\w+)`", row.split("|")[2]))


def _key(value: bytes | None) -> bytes:
    try:
        return str(json.loads(value or b"")["event_id"]).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return b"k"


def _buried(
    core: Core, stage: str, records: list[Rec], process: Callable[[list[Rec], int], Output] | None = None
) -> list[Rec]:
    """Process records one by one: the dead ones, each of which has one letter, itself, with a documented rule."""
    dead = []
    for record in records:
        sends = (process or core.process)([record], 0).sends
        letters: list[Out] = [out for (stream, _), outs in sends.items() if stream == "deadletter" for out in outs]
        assert len(letters) <= 1
        for letter in letters:
            assert (letter.value, letter.key) == (record.value, record.key)
            assert dict(letter.headers)[deadletter.RULE].decode() in _rules(stage)
            dead.append(record)
    assert sum(count for name, count in core.totals.items() if name.startswith("deadletter.")) == len(dead)
    return dead


def _records(topic: str, values: list[tuple[bytes | None, int]]) -> list[Rec]:
    return [Rec(topic, 0, offset, stamp, _key(value), value) for offset, (value, stamp) in enumerate(values)]


def _served() -> Served:
    fold = Fold()
    fold.apply(control(spec()), 0)
    for offset, record in enumerate(examples(30), 1):
        fold.apply(record, offset)
    parts = fold.parts({"logistic": 3, "sgd": 2})
    return Served(parts["logistic"], [parts["sgd"]], parts["logistic"].encodings, fold.offset)


@settings(max_examples=100)
@given(values=_values("events.clean"))
@example(values=_known("events.clean"))
def test_scoring_buries_what_it_cannot_score(values: list[tuple[bytes | None, int]]) -> None:
    """Each record of events.clean, whatever it holds, becomes one prediction or one dead letter."""
    core = Score(0, 1, binary=True)
    core.serve(_SERVED)
    dead = _buried(core, "score", _records("p.events.clean", values))
    assert core.totals["in"] == len(values) == core.totals["predictions"] + len(dead)


@pytest.mark.parametrize("clock", ["wall", "replay"])
@settings(max_examples=60)
@given(predictions=_values("predictions"), labels=_values("labels.clean"))
@example(predictions=_known("predictions"), labels=_known("labels.clean"))
def test_the_join_buries_what_it_cannot_match(
    clock: str, predictions: list[tuple[bytes | None, int]], labels: list[tuple[bytes | None, int]]
) -> None:
    """Each prediction and label, whatever it holds, is in the account once, and the join that goes on from its
    checkpoint remembers the same.
    """
    read = _records(join_lane.PREDICTIONS, predictions), _records(join_lane.LABELS, labels)
    lane = join_lane.Lane(*read, options={"clock": clock})
    dead = _buried(lane.core, "join", [*read[0], *read[1]], lambda records, _: lane.process(records))
    totals = lane.core.totals
    assert [totals["predictions"], totals["labels"]] == [len(records) for records in read]
    assert sum(count for name, count in totals.items() if "deadletter" in name) == len(dead)
    join_lane.assert_balanced(lane.core)
    before = join_lane.remembered(lane.core)
    lane.restart()
    assert join_lane.remembered(lane.core) == before


@settings(max_examples=60)
@given(values=_values("examples"))
@example(values=_known("examples"))
def test_training_buries_what_it_cannot_fold(values: list[tuple[bytes | None, int]]) -> None:
    """Each record of examples, whatever it holds, is folded and counted or is one dead letter, and the fold can still
    be written down.
    """
    core = Train()
    core.process(_log(), 0)
    counted = ("examples", "corrections", "controls")
    before = sum(core.totals[name] for name in counted)
    dead = _buried(core, "train", _records("flights.examples", values))
    assert sum(core.totals[name] for name in counted) - before == len(values) - len(dead)
    assert len(core.fold.snapshots()) == len(core.fold.learners)


@settings(max_examples=100)
@given(values=_values("predictions"), learned=_values("examples"))
@example(values=_known("predictions"), learned=_known("examples"))
def test_summarise_buries_what_it_cannot_sum_up(
    values: list[tuple[bytes | None, int]], learned: list[tuple[bytes | None, int]]
) -> None:
    """Each prediction, whatever it holds, is summed up or is one dead letter, and so is each example; the lane can go on
    from its checkpoint.
    """
    pipeline = streams.spec(["distance"])
    core: Summarise = streams.core(pipeline)
    records = _records(streams.PREDICTIONS, values)
    dead = _buried(core, "summarise", [*records, *_records(streams.EXAMPLES, learned)])
    assert core.totals["predictions"] == sum(record not in dead for record in records)
    again = streams.core(pipeline)
    again.restore(core.standing().data, core.totals)
    assert again.standing() == core.standing()


@settings(max_examples=150)
@given(values=_values("summaries"), times=st.integers(1, 60))
@example(values=_known("summaries"), times=2)
def test_detect_buries_what_it_cannot_merge(values: list[tuple[bytes | None, int]], times: int) -> None:
    """Each record of summaries, whatever it holds and however often, is counted or is one dead letter, and the fold can
    go on from its checkpoint.
    """
    pipeline = streams.spec(partitions=4)
    core = Detect(pipeline)
    records = _records(streams.SUMMARIES, values * times)
    dead = _buried(core, "detect", records)
    assert core.totals["summaries"] == len(records) - len(dead)
    standing, again = core.standing(), Detect(pipeline)
    low = standing.low_water.get(streams.SUMMARIES, len(records))
    again.restore(standing.data, core.totals, records[low:])
    assert again.standing() == standing


@pytest.mark.parametrize("core", [streams.core(streams.spec()), Detect(streams.spec())])
def test_a_checkpoint_without_state_begins_anew(core: Summarise | Detect) -> None:
    """A drift stage restored from ``null`` stands where a new one stands, but for its totals."""
    before = core.standing()
    core.restore(b"null", {"summaries": 7})
    assert (core.standing(), core.totals["summaries"]) == (before, 7)


def _log() -> list[Rec]:
    values = [encode(control(spec())), *(encode(example) for example in examples(5))]
    return [Rec("flights.examples", 0, offset, 0, b"k", value) for offset, value in enumerate(values)]


_SERVED = _served()
