"""Linear models scored in one pass score as each does by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.predictions import ModelRef
from services.domain.columns import Columns, Row, dense_names
from services.domain.encodings import ServedEncodings
from services.domain.linear import Linear, State
from services.domain.plan import EncodingPlan, Field, Plan
from services.domain.served import Part, Served
from services.domain.together import together

NUMBERS = ("a", "b'\"\\", "c\n}")
FIELDS = (Field("origin", ("origin",), 3), Field("origin*day", ("origin", "day"), 2))
ENCODINGS = (EncodingPlan("origin", ("origin",), (10.0, 20.0), False, 5),)
WEIGHT = st.floats(-20, 20)
VALUES = {
    **dict.fromkeys(NUMBERS, st.none() | st.floats(-1e6, 1e6)),
    **dict.fromkeys(("origin", "day"), st.none() | st.sampled_from(["x", "y", "z"])),
}


class Slow:
    """Any other model: it scores by the row."""

    def score(self, row: Row) -> float:
        return float(len(row.sparse))


@st.composite
def states(draw: st.DrawFn) -> tuple[Columns, list[Linear]]:
    """Columns that have seen a few values, and one to three models of any weights."""
    task = draw(st.sampled_from(["binary", "regression"]))
    plan = Plan(
        task, NUMBERS[: draw(st.integers(0, 3))], FIELDS[: draw(st.integers(0, 2))], ENCODINGS[: draw(st.integers(0, 1))],
        ("origin", "day"),
    )  # fmt: skip
    columns = Columns(plan)
    for event, encoded in draw(st.lists(events(), max_size=5)):
        columns.learn(event, encoded)
    wide = st.lists(WEIGHT, min_size=len(dense_names(plan)), max_size=len(dense_names(plan)))
    sparse = st.lists(WEIGHT, min_size=columns.size, max_size=columns.size)
    model = st.builds(State, st.just(task == "binary"), WEIGHT, wide, sparse)
    return columns, [Linear(state) for state in draw(st.lists(model, min_size=1, max_size=3))]


def events() -> st.SearchStrategy[tuple[dict[str, Any], dict[str, list[float]]]]:
    """Features and the encodings' rows."""
    row = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2)
    return st.tuples(st.fixed_dictionaries(VALUES), st.fixed_dictionaries({"origin": row}))


@given(states(), events())
def test_one_pass_scores_as_each_model_does(
    state: tuple[Columns, list[Linear]], event: tuple[dict[str, Any], dict[str, list[float]]]
) -> None:
    """For any plan, weights and event, to the bit."""
    columns, models = state
    row = columns.row(*event)
    assert together(columns, models)(*event) == [model.score(row) for model in models]


def part(name: str, columns: Columns, model: Any) -> Part:
    return Part(ModelRef("p", name, 1, 5), "log", columns, model, ServedEncodings([]), 0)


@given(
    states(), events(), st.permutations(["slow", "apart", "short"]), st.sampled_from(["whole", "absent", "encodings"])
)
def test_what_is_served_is_what_each_part_scores(
    state: tuple[Columns, list[Linear]],
    event: tuple[dict[str, Any], dict[str, list[float]]],
    order: list[str],
    missing: str,
) -> None:
    """Beside models of other kinds, with columns of their own or too few weights, and of features of another plan too."""
    columns, (first, *more) = state
    features, encoded = event
    if missing == "absent":
        features = {name: value for name, value in features.items() if name != NUMBERS[0]}
    if missing == "encodings":
        encoded = {}
    weights = first.state
    others = {
        "slow": part("slow", columns, Slow()),
        "apart": part("apart", Columns(columns.plan), first),
        "short": part("short", columns, Linear(State(weights.binary, 1.0, weights.dense, []))),
    }
    challengers = [part(f"m{index}", columns, model) for index, model in enumerate(more)] + [others[it] for it in order]
    served = Served(part("first", columns, first), challengers, ServedEncodings([]), 5)
    score, scores = served.score(features, encoded)
    expected, failed = {}, 0
    for each in challengers:
        try:
            expected[each.ref.candidate] = each.model.score(each.columns.row(features, encoded))
        except IndexError:
            failed += 1
    assert score == first.score(columns.row(features, encoded))
    assert {it.candidate: it.score for it in scores} == expected
    assert served.failures == failed


def test_what_a_model_learns_shows_at_once() -> None:
    """The function reads the models' state when it is called."""
    columns = Columns(Plan("regression", ("a",), (), (), ()))
    model = Linear(State(False, 0.0, [0.0], [0.0]))
    score = together(columns, [model])
    assert score({"a": 1.0}, {}) == [0.0]
    model.state.intercept = 2.0
    assert score({"a": 1.0}, {}) == [2.0]


@pytest.mark.parametrize(
    ("features", "encoded"), [({}, {"origin": [0.0, 0.0]}), ({"a": 1.0}, {}), ({"a": 1.0}, {"origin": [0.0]})]
)
def test_what_is_of_another_plan_is_refused(features: dict[str, float], encoded: dict[str, list[float]]) -> None:
    """Never taken for a number: the models are to be asked one by one."""
    columns = Columns(Plan("binary", ("a",), (), ENCODINGS, ()))
    with pytest.raises((KeyError, ValueError)):
        together(columns, [Linear(State(True, 0.0, [0.0] * 3, [0.0]))])(features, encoded)
