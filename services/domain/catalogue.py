"""The model catalogue: what ``[[model.candidates]]`` may name, behind one small protocol."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal, Protocol

from services.domain import linear
from services.domain.columns import Columns, Moves, Row
from services.domain.estimators import Estimator
from services.domain.foreign import ModelError, foreign
from services.domain.pickles import Global
from services.domain.plan import Plan
from services.domain.spec import Candidate


class Model(Protocol):
    """A candidate's model. Every method is deterministic; a model is a function of the steps it has learned."""

    @property
    def codec(self) -> Literal["msgpack", "pickle"]:
        """How :meth:`dump` writes; models in msgpack are small enough to be served live."""

    def score(self, row: Row) -> float:
        """P(true) (0.5 when untrained), or the estimate; ModelError when there is none."""

    def learn(self, row: Row, label: float, weight: float) -> bool:
        """One step. False when it failed, the model being as it was; ModelError when it can learn no more."""

    def moved(self, moves: Moves, plan: Plan) -> None:
        """Follow the columns to a new plan; what has kept its name keeps its state."""

    def dump(self) -> bytes:
        """The whole state; ModelError when it cannot be written down."""


class FactoryError(ValueError):
    """A factory that cannot be used: which one, why, and what a factory is."""


def make(candidate: Candidate, columns: Columns) -> Model:
    """The untrained model of a candidate, for a fold's columns."""
    binary = columns.plan.task == "binary"
    if is_linear(candidate):
        return linear.new(candidate, binary=binary, dense=len(columns.means), sparse=columns.size)
    build, also = _builder(candidate, binary=binary)
    return Estimator(build, columns.plan, also, None)


def load(candidate: Candidate, plan: Plan, data: bytes) -> Model:
    """A model from its dump; the bytes must have been verified. UnlistedError or msgspec errors if they are not one."""
    if is_linear(candidate):
        return linear.load(data, candidate)
    build, also = _builder(candidate, binary=plan.task == "binary")
    return Estimator(build, plan, also, data)


def prepare(candidates: Iterable[Candidate]) -> None:
    """Import what the candidates' models need: it takes seconds, and belongs in a thread, beside the lanes.

    A factory that cannot be imported is told of where it is used.
    """
    for candidate in candidates:
        if not is_linear(candidate):
            with suppress(ModelError), foreign("importing a model"):
                _builder(candidate, binary=True)[0]()


def is_linear(candidate: Candidate) -> bool:
    """Whether a candidate is small and served live."""
    return candidate.model in {"logistic_regression", "linear_regression"}


def same_kind(old: Candidate, new: Candidate) -> bool:
    """Whether a candidate can go on with the state it has: all but rates and penalties are as they were."""
    return (old.model, old.factory, old.optimizer, old.models, old.seed) == (
        new.model, new.factory, new.optimizer, new.models, new.seed,
    )  # fmt: skip


def _builder(candidate: Candidate, *, binary: bool) -> tuple[Callable[[], Any], tuple[Global, ...]]:
    if candidate.factory:
        return _factory(candidate.factory, binary=binary)
    return (lambda: _tree(candidate, binary=binary)), ()


def _tree(candidate: Candidate, *, binary: bool) -> Any:
    """River is imported here, where it is needed: it costs 100 MB of memory."""
    from river import forest, tree  # noqa: PLC0415 - see the docstring

    if candidate.model == "hoeffding_adaptive_tree":
        if binary:
            return tree.HoeffdingAdaptiveTreeClassifier(seed=candidate.seed)
        return tree.HoeffdingAdaptiveTreeRegressor(seed=candidate.seed, leaf_prediction="mean")
    if binary:
        return forest.ARFClassifier(n_models=candidate.models, seed=candidate.seed)
    return forest.ARFRegressor(n_models=candidate.models, seed=candidate.seed, leaf_prediction="mean")


def _factory(path: str, *, binary: bool) -> tuple[Callable[[], Any], tuple[Global, ...]]:
    method = "predict_proba_one" if binary else "predict_one"
    module_name, _, function = path.partition(":")
    try:
        module = importlib.import_module(module_name)
        build = getattr(module, function)
        estimator = build()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        message = (
            f'factory "{path}" cannot be used: {type(error).__name__}: {error}. It names a function without arguments, '
            '"package.module:function", importable where the learner and scoring run'
        )
        raise FactoryError(message) from error
    if not (callable(getattr(estimator, "learn_one", None)) and callable(getattr(estimator, method, None))):
        message = (
            f'factory "{path}" returned {type(estimator).__name__}, which has no learn_one and {method}: '
            "expected a River estimator for the pipeline's task"
        )
        raise FactoryError(message)
    return build, tuple(tuple(item) for item in getattr(module, "ALLOWED", ()))
