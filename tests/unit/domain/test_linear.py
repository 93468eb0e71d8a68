from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import compose, linear_model, optim, preprocessing

from services.domain import linear
from services.domain.columns import CLIP, Columns, Row, dense_names, sparse_names
from services.domain.plan import Plan, plan_of
from services.domain.spec import Candidate
from tests.unit.stream import MORE, events, examples, spec

NUMBERS = Plan("binary", ("distance", "wind"), (), (), ())


class Scaler(preprocessing.StandardScaler):
    """River's scaler, its numbers held within as many deviations as ours."""

    def transform_one(self, x: dict[str, float]) -> dict[str, float]:
        return {name: min(max(value, -CLIP), CLIP) for name, value in super().transform_one(x).items()}


def river(candidate: Candidate, *, binary: bool) -> Any:
    """River's pipeline; for AdaGrad the intercept is the weight of a column that is always 1."""
    adagrad = candidate.optimizer == "adagrad"
    optimizer = (optim.AdaGrad if adagrad else optim.SGD)(candidate.learning_rate)
    kind = linear_model.LogisticRegression if binary else linear_model.LinearRegression
    last = kind(optimizer, l2=candidate.l2, intercept_lr=0.0 if adagrad else candidate.learning_rate)
    scaler = Scaler()
    return (scaler + compose.FuncTransformer(lambda _: {"one": 1.0}) if adagrad else scaler) | last


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize(("optimizer", "l2"), [("sgd", 0.0), ("sgd", 0.01), ("adagrad", 0.0)])
def test_scores_equal_rivers_pipeline(task, optimizer, l2):
    """On numbers, some missing, every score along a stream equals that of River's scaler and regression to 1e-9."""
    binary = task == "binary"
    candidate = Candidate("c", model="logistic_regression", optimizer=optimizer, learning_rate=0.02, l2=l2)
    columns = Columns(Plan(task, ("distance", "wind"), (), (), ()))
    model = linear.new(candidate, binary=binary, dense=2, sparse=columns.size)
    peer = river(candidate, binary=binary)
    for index, came in enumerate(events(2000)):
        x = {name: came[name] for name in ("distance", "wind")}
        if l2 and x["distance"] is None:
            x["distance"] = 7.0  # River does not shrink the weight of what is absent
        event = {**came, **x}
        present = {name: value for name, value in x.items() if value is not None}
        sparse_free = columns.row(event, {})
        sparse_free.sparse.clear()  # River knows no column for missing
        score = model.score(sparse_free)
        expected = peer.predict_proba_one(present).get(True, 0.5) if binary else peer.predict_one(present)
        assert score == pytest.approx(expected, abs=1e-9, rel=1e-9)
        label = (event["wind"] > 8) != (index % 7 == 0)
        row = columns.learn(event, {})
        assert row is not None
        row.sparse.clear()
        assert model.learn(row, float(label) if binary else event["wind"] * 0.1, 1.0)
        peer.learn_one(present, label if binary else event["wind"] * 0.1)


def fresh(plan: Plan) -> tuple[Columns, linear.Linear]:
    columns = Columns(plan)
    candidate = spec().model.candidates[0]
    return columns, linear.new(candidate, binary=True, dense=len(columns.means), sparse=columns.size)


def trained(count: int = 300) -> tuple[Columns, linear.Linear]:
    columns, model = fresh(plan_of(spec()))
    for example in examples(count):
        row = columns.learn(example.features, example.encoded)
        assert row is not None
        assert model.learn(row, float(example.label), 1.0)
    return columns, model


def test_an_untrained_model_says_one_half():
    """Before anything is learned the probability of any event is 0.5."""
    columns, model = fresh(plan_of(spec()))
    assert {model.score(columns.row(event, {})) for event in events(20)} == {0.5}


@settings(max_examples=50)
@given(st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e200, -1e308]), st.sampled_from(["distance", "*"]))
def test_what_is_not_finite_is_not_learned(bad, where):
    """An example with a number that is not finite, or cannot be squared, changes neither columns nor model."""
    columns, model = trained(20)
    event = next(iter(events(1)))
    before = columns.state().means[:], dict(columns.vocabulary[1]), model.dump()
    features = {**event, "carrier": "new", "distance": bad if where == "distance" else 1.0}
    assert columns.learn(features, {"*": [bad, 0.0]} if where == "*" else {}) is None
    assert (columns.state().means, dict(columns.vocabulary[1]), model.dump()) == before


def test_a_step_that_would_not_be_finite_leaves_the_model_as_it_was():
    """Learning refuses a step whose result is not a finite number, and says so."""
    columns, model = trained(20)
    row = columns.row(next(iter(events(1))), {})
    before = model.dump()
    assert not model.learn(Row({}, {}, [float("nan")] * len(row.dense), row.sparse), 1.0, 1.0)
    assert not model.learn(row, 1.0, float("nan"))
    assert model.dump() == before


@pytest.mark.parametrize("cut", [0, 1, 77, 299])
def test_a_loaded_model_goes_on_equally(cut):
    """Dump, load, continue gives the same state, byte for byte, as never having stopped."""
    columns, model = fresh(plan_of(spec()))
    candidate = spec().model.candidates[0]
    for index, example in enumerate(examples(300)):
        if index == cut:
            model = linear.load(model.dump(), candidate)
            columns = Columns(columns.plan, columns.state())
        row = columns.learn(example.features, example.encoded)
        assert row is not None
        model.learn(row, float(example.label), 1.0)
    assert model.dump() == trained()[1].dump()


def test_what_is_served_scores_as_what_learns():
    """The served form, without the optimizer's state, gives exactly the same scores."""
    columns, model = trained()
    served = linear.load(model.served())
    other = Columns(columns.plan, columns.state(served=True))
    for event in events(100, seed=9):
        assert served.score(other.row(event, {})) == model.score(columns.row(event, {}))


def test_values_beyond_the_bound_share_one_weight():
    """A category keeps max_values values of its own; all others, learned or not, score alike."""
    columns, model = trained()
    assert len(columns.vocabulary[1]) == 4
    known = set(columns.vocabulary[1])
    others = {value for value in ("UA", "AA", "DL", "B6", "EV", "MQ", "ZZ") if value not in known}
    scores = {model.score(columns.row({"carrier": value, "origin": "none"}, {})) for value in others}
    assert len(others) >= 3
    assert len(scores) == 1


def test_weights_follow_their_names_into_a_new_plan():
    """Adding features, an encoding and a category leaves every score as it was, and what is new starts at 0."""
    columns, model = trained()
    tests = list(zip(events(50, seed=4), (example.encoded for example in examples(50, seed=4)), strict=True))
    before = [model.score(columns.row(event, encoded)) for event, encoded in tests]
    by_name = dict(zip(sparse_names(columns), model._state.sparse, strict=True))
    more, moves = columns.replanned(plan_of(spec(more=MORE)))
    model.moved(moves, more.plan)
    assert dense_names(more.plan)[2] == "rain"
    after = [model.score(more.row(event, encoded)) for event, encoded in tests]
    # the one number more is missing from these events, and its column for that has learned nothing
    assert after == pytest.approx(before, abs=1e-12)
    now = dict(zip(sparse_names(more), model._state.sparse, strict=True))
    assert {name: now[name] for name in by_name} == by_name
    assert all(weight == 0.0 for name, weight in now.items() if name not in by_name)


def test_absent_and_unknown_features_are_tolerated():
    """An event with none of the features scores like one whose features are all missing."""
    columns, model = trained()
    empty = dict.fromkeys(("distance", "wind", "holiday", "carrier", "origin"))
    assert model.score(columns.row({}, {})) == model.score(columns.row({**empty, "other": 5.0}, {"nothing": [1.0]}))
