from __future__ import annotations

import io
import os
import pickle
from typing import Any

import pytest
from river import linear_model, preprocessing

from services.domain import catalogue, pickles
from services.domain.columns import Columns, Row
from services.domain.estimators import JOURNAL, MOST, Estimator
from services.domain.foreign import ModelError
from services.domain.plan import plan_of
from services.domain.spec import Candidate
from tests.unit import estimators
from tests.unit.stream import LOGISTIC, REGRESSION, TREE, events, examples, spec

HERE = "tests.unit.domain.test_catalogue"
FOREST = '[[model.candidates]]\nname = "forest"\nmodel = "adaptive_random_forest"\nmodels = 2\n'
TREES = {"tree": TREE, "forest": FOREST}


def factory() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def none() -> None:
    return None


def broken() -> Any:
    raise RuntimeError("no licence")


class Fragile:
    """Counts what it has learned; fails on the way when told to, having changed already."""

    def __init__(self) -> None:
        self.learned = 0

    def learn_one(self, x: dict[str, Any], _y: bool) -> None:
        self.learned += 1
        if x.get("wind") == 666.0:
            raise ArithmeticError("wind")

    def predict_proba_one(self, _x: dict[str, Any]) -> dict[bool, float]:
        return {True: 1 / (1 + self.learned)} if self.learned else {}


ALLOWED = [(HERE, "Fragile")]


def candidate(function: str) -> Candidate:
    return Candidate("own", factory=f"{HERE}:{function}")


def rows(of: Any, count: int) -> list[tuple[Row, float]]:
    columns = Columns(plan_of(of))
    found = []
    for example in examples(count, of=of):
        row = columns.learn(example.features, example.encoded)
        assert row is not None
        found.append((row, float(example.label)))
    return found


def models(text: str, task: str = "binary") -> tuple[Any, catalogue.Model, list[tuple[Row, float]]]:
    of = spec(text, task=task)
    return of.model.candidates[0], catalogue.make(of.model.candidates[0], Columns(plan_of(of))), rows(of, 400)


@pytest.mark.parametrize(
    ("text", "task"),
    [(LOGISTIC, "binary"), (TREE, "binary"), (FOREST, "binary"),
     (REGRESSION, "regression"), (TREE, "regression"), (FOREST, "regression")],
)  # fmt: skip
def test_every_model_learns_and_goes_on_equally_after_loading(text, task):
    """Each model of the catalogue starts neutral, learns something, and predicts the same ever after a load."""
    mine, model, steps = models(text, task)
    assert model.score(Columns(plan_of(spec(text, task=task))).row({"wind": 3.0}, {})) == (
        0.5 if task == "binary" else 0.0
    )
    for row, label in steps[:300]:
        assert model.learn(row, label, 1.0)
    scores = [model.score(row) for row, _ in steps]
    assert len(set(scores)) > 1
    loaded = catalogue.load(mine, plan_of(spec(text, task=task)), model.dump())
    assert [loaded.score(row) for row, _ in steps] == scores
    for row, label in steps[300:]:
        model.learn(row, label, 1.0)
        loaded.learn(row, label, 1.0)
    assert [loaded.score(row) for row, _ in steps] == [model.score(row) for row, _ in steps]


@pytest.mark.parametrize("kind", TREES)
def test_seeded_trees_are_reproducible(kind):
    """Two trees or forests of one seed that learn the same predict the same."""
    scores = []
    for _ in range(2):
        _, model, steps = models(TREES[kind])
        for row, label in steps:
            model.learn(row, label, 1.0)
        scores.append([model.score(row) for row, _ in steps])
    assert scores[0] == scores[1]


def test_a_dump_leaves_out_generators_that_no_prediction_uses():
    """A tree's dump is a small part of its plain pickle."""
    _, model, steps = models(TREE)
    for row, label in steps:
        model.learn(row, label, 1.0)
    assert len(model.dump()) < len(pickle.dumps(model._estimator)) / 3  # type: ignore[attr-defined]


def test_a_factory_of_ones_own_is_a_candidate():
    """A function that returns a River pipeline of listed parts can be learned, dumped and loaded."""
    columns = Columns(plan_of(spec()))
    model = catalogue.make(candidate("factory"), columns)
    steps = [(Row({"wind": row.features["wind"]}, {}, [], []), label) for row, label in rows(spec(), 50)]
    plan = plan_of(spec()).__class__("binary", ("wind",), (), (), ())
    model.moved(columns.replanned(plan)[1], plan)
    for row, label in steps:
        assert model.learn(row, label, 1.0)
    loaded = catalogue.load(candidate("factory"), plan, model.dump())
    assert [loaded.score(row) for row, _ in steps] == [model.score(row) for row, _ in steps]


@pytest.mark.parametrize("dumps", [set(), {3}, {0, 7}])
def test_a_failed_step_leaves_a_model_as_it_was(dumps):
    """An estimator that fails half-way goes on as if that example had not been, wherever it was dumped."""
    model = catalogue.make(candidate("Fragile"), Columns(plan_of(spec())))
    steps = list(events(10))
    for index, event in enumerate(steps):
        if index in dumps:
            model.dump()
        assert model.learn(Row(event, {}, [], []), 1.0, 1.0)
        assert not model.learn(Row({**event, "wind": 666.0}, {}, [], []), 1.0, 1.0)
    assert model.score(Row({}, {}, [], [])) == 1 / 11


def moody() -> catalogue.Model:
    return catalogue.make(estimators.SPEC.model.candidates[-1], Columns(plan_of(spec())))


def mood(name: str = "") -> Row:
    return Row({estimators.MOOD: name}, {}, [], [])


def taught(model: catalogue.Model, *names: str, count: int = 1) -> list[bool]:
    return [model.learn(mood(name), 1.0, 1.0) for name in names for _ in range(count)]


@pytest.mark.parametrize("dumps", [set(), {399}, {0, 200, 401}])
def test_of_many_failures_in_a_row_only_the_first_costs_the_steps_again(dumps):
    """However many steps fail one after the other, those before them are learned once more at most."""
    model = moody()
    estimators.steps.clear()
    for step in range(400):
        if step in dumps:
            model.dump()
        assert model.learn(mood(), 1.0, 1.0)
    assert not any(taught(model, "fails", "panics", count=50))
    assert len(estimators.steps) <= 400 + 100 + 400
    assert model.score(mood()) == 1 / 401


def test_an_estimator_that_cannot_be_dumped_for_a_while_goes_on():
    """A state that no dump can hold when one is due changes nothing, if a dump can hold what comes of it."""
    model, other = moody(), moody()
    for it in (model, other):
        assert all(taught(it, "", count=JOURNAL - 1))
        assert taught(it, "closed") == [True]
        if it is model:
            with pytest.raises(ModelError, match="writing the model down failed: UnlistedError"):
                it.dump()
        assert all(taught(it, "", count=MOST - JOURNAL - 1))
        assert taught(it, "open", "", "fails") == [True, True, False]
    assert model.score(mood()) == other.score(mood()) == 1 / (MOST + 2)


@pytest.mark.parametrize("last", [["fails"], [""] * (MOST - 1)])
def test_an_estimator_that_stays_undumpable_ends(last):
    """After a failed step, and after two journals of steps, one that cannot be dumped is an error with its cause."""
    model = moody()
    assert taught(model, "closed") == [True]
    with pytest.raises(ModelError, match="not on the list") as error:
        taught(model, *last)
    assert isinstance(error.value.__cause__, pickles.UnlistedError)


@pytest.mark.parametrize("name", ["mute", "lost"])
def test_whatever_scoring_raises_is_an_error_of_the_model(name):
    """A panic, which is no Exception, and a score that is no number are errors that say so."""
    with pytest.raises(ModelError, match="scoring an event failed"):
        moody().score(mood(name))


@pytest.mark.parametrize("path", ["nowhere.at.all:f", f"{HERE}:absent", f"{HERE}:none", f"{HERE}:broken"])
def test_a_factory_that_cannot_be_used_is_named(path):
    """A factory that is missing, fails, or makes no estimator is an error that names it and says what one is."""
    with pytest.raises(catalogue.FactoryError, match=path.split(":")[1]):
        catalogue.make(Candidate("own", factory=path), Columns(plan_of(spec())))


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


@pytest.mark.parametrize("value", [Attack(), os.system, io.BytesIO, {"a": [Attack()]}, eval])
def test_only_listed_names_are_pickled_or_unpickled(value):
    """A pickle that names anything off the list is refused when read, and the same is refused when written."""
    with pytest.raises(pickles.UnlistedError, match="not on the list"):
        pickles.load(pickle.dumps(value))
    with pytest.raises(pickles.UnlistedError, match="not on the list"):
        pickles.dump(value)


class Says:
    """Predicts whatever number it is made with."""

    def __init__(self, number: float) -> None:
        self.number = number

    def learn_one(self, x: dict[str, Any], y: float) -> None: ...

    def predict_one(self, _x: dict[str, Any]) -> float:
        return self.number


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1e151])
def test_a_prediction_that_is_no_number_to_reckon_with_is_refused(number: float) -> None:
    """NaN, infinities and numbers that cannot be squared are never a score: none reaches a prediction or a measure."""
    plan = plan_of(spec(REGRESSION, task="regression"))
    for said, good in ((2.5, True), (number, False)):
        model = Estimator(lambda said=said: Says(said), plan, (), None)
        row = Columns(plan).row(next(iter(events(1))), {})
        if good:
            assert model.score(row) == said
        else:
            with pytest.raises(ModelError, match="not a number"):
                model.score(row)
