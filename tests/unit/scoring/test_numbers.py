"""Events of numbers alone are scored past the dict: nobody can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.predictions import ModelRef
from services.domain.columns import Columns, dense_names
from services.domain.encodings import ServedEncodings
from services.domain.linear import Linear, State
from services.domain.plan import EncodingPlan, Field, Plan
from services.domain.records import Output
from services.domain.served import Part, Served
from services.scoring.core import Score
from tests.unit.records import Rec

NAMES = ("a", "b'}", "ü")
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
ANY = st.none() | NUMBER | st.booleans() | st.sampled_from(["", "x", "1", "true"]) | st.lists(st.none(), max_size=1)
WEIGHT = st.floats(-20, 20)


def plan(names: Sequence[str], **more: Any) -> Plan:
    return msgspec.structs.replace(Plan("binary", tuple(names), (), (), ()), **more)


def served(columns: Columns, models: Sequence[Linear], encodings: ServedEncodings | None = None) -> Served:
    parts = [
        Part(ModelRef("p", f"m{index}", 1, 5), "log", columns, model, encodings or ServedEncodings([]), 0)
        for index, model in enumerate(models)
    ]
    return Served(parts[0], parts[1:], parts[0].encodings, 5)


@st.composite
def states(draw: st.DrawFn) -> tuple[Columns, list[Linear]]:
    """A plan of numbers, columns that have seen a few values, one or two models, one of them with too few weights."""
    columns = Columns(plan(NAMES[: draw(st.integers(0, 3))]))
    width = len(dense_names(columns.plan))
    for numbers in draw(st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), max_size=4)):
        columns.learn(dict(zip(NAMES, numbers, strict=True)), {})
    dense = st.lists(WEIGHT, min_size=width, max_size=width)
    sparse: st.SearchStrategy[list[float]] = st.lists(WEIGHT, min_size=columns.size, max_size=columns.size) | st.just(
        []
    )
    model = st.builds(State, st.booleans(), WEIGHT, dense, sparse)
    return columns, [Linear(state) for state in draw(st.lists(model, min_size=1, max_size=2))]


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[Columns, list[Linear]], bytes]:
    """A state and an event's features in JSON: mostly its numbers, and one or two of what may be wrong with them."""
    state = draw(states())
    pairs = [(name, draw(NUMBER)) for name in state[0].plan.numbers]
    pairs += draw(st.lists(st.tuples(st.sampled_from((*NAMES, "other")), ANY), max_size=2))
    pairs = draw(st.permutations(pairs))[draw(st.integers(0, 1)) :]
    escaped = draw(st.booleans())
    names = [_escaped(name) if escaped else msgspec.json.encode(name) for name, _ in pairs]
    values = [msgspec.json.encode(value) for _, value in pairs]
    return state, b"{%s}" % b" ,".join(b"%s: %s" % pair for pair in zip(names, values, strict=True))


def _escaped(name: str) -> bytes:
    return b'"%s"' % "".join(f"\\u{ord(letter):04x}" for letter in name).encode()


def told(state: Served, value: bytes) -> tuple[Output, dict[str, int], int]:
    core = Score(0, 1, binary=True)
    core.serve(state)
    raw = b'{"event_id":"e1","time":"2013-01-01T00:00:00Z","features":%s,"changes":[],"spec":"s"}' % value
    return core.process([Rec("p.events.clean", 0, 0, 0, b"e1", raw, [])], 0), core.totals, state.failures


NOTHING_LEARNED = Columns(plan(NAMES[:1])), [Linear(State(True, 0.0, [1.0], []))]


@given(cases())
@example((NOTHING_LEARNED, b'{"a":"1"}'))
@example((NOTHING_LEARNED, b'{"a":1,"other":[null]}'))
@example((NOTHING_LEARNED, b'{"a":1e400}'))
@example((NOTHING_LEARNED, b'{"a":\xff}'))
@example((NOTHING_LEARNED, b'{"a":%s1}' % (b"[" * 5000)))
def test_no_output_differs_from_that_of_the_dict(case: tuple[tuple[Columns, list[Linear]], bytes]) -> None:
    """For any numbers, nulls, other types, names that are absent, unknown, repeated or escaped, and broken JSON."""
    state, value = case
    past, through = served(*state), served(*state)
    through._of_numbers = None
    assert told(past, value) == told(through, value)


def test_numbers_alone_take_the_short_way() -> None:
    """Whatever their order is, null among them: otherwise the test above would compare one thing with itself."""
    columns = Columns(plan(NAMES[:2]))
    state = served(columns, [Linear(State(True, 0.5, [1.0, 2.0], [3.0, 4.0]))])
    names = [msgspec.json.encode(name) for name in NAMES[:2]]
    for value in (b"{%s:1,%s:2.5}" % tuple(names), b"{%s:null,%s:-0.0}" % tuple(reversed(names))):
        assert state.score_numbers(msgspec.Raw(value)) is not None


@pytest.mark.parametrize(
    "more", [{"fields": (Field("c", ("c",), 3),)}, {"encodings": (EncodingPlan("*", (), (1.0,), False, 5),)}]
)
def test_a_plan_of_more_than_numbers_is_scored_from_the_dict(more: dict[str, Any]) -> None:
    """Categories and encodings are looked up there."""
    columns = Columns(plan(NAMES[:1], **more))
    state = served(columns, [Linear(State(True, 0.0, [0.0] * len(dense_names(columns.plan)), [0.0] * columns.size))])
    assert state.score_numbers(msgspec.Raw(b'{"a":1.0}')) is None
