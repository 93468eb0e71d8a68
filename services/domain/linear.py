"""Linear models, equal to River's ``StandardScaler | LogisticRegression(optimizer)`` and ``… | LinearRegression(…)``.

Written for speed in plain Python: columns are positions (see ``columns``), so that a score is two sums. AdaGrad (Duchi,
Hazan, Singer, JMLR 2011) divides by the root of the summed squared gradients, as in ``river.optim``. The intercept is
one more weight under the same optimizer, of a column that is always 1, and is not penalised; River's SGD at a constant
0.01 beside any optimizer follows the noise (flights of a year: AUC .746 against .753).
"""

from __future__ import annotations

from math import exp, isfinite, sqrt
from operator import mul
from typing import Literal

import msgspec

from services.domain.columns import Moves, Row
from services.domain.plan import Plan
from services.domain.spec import Candidate

EPSILON = 1e-8
CERTAIN = 30.0
"""Margins beyond this are probability 0 or 1, as in River."""
_CLIP = 1e12


class State(msgspec.Struct, array_like=True):
    """A linear model as written down; the sums of squared gradients are the learner's (served, they are empty)."""

    binary: bool
    intercept: float
    dense: list[float]
    sparse: list[float]
    dense_squares: list[float] = []
    sparse_squares: list[float] = []
    intercept_square: float = 0.0


_STATE = msgspec.msgpack.Decoder(State)


class Linear:
    """Logistic regression (``binary``) or linear regression on the columns of a plan."""

    codec: Literal["msgpack"] = "msgpack"

    __slots__ = ("_state", "adagrad", "l2", "rate")

    def __init__(self, state: State, candidate: Candidate | None = None) -> None:
        self._state = state
        self.adagrad = candidate is not None and candidate.optimizer == "adagrad"
        self.rate = self.l2 = 0.0
        if candidate:
            self.follow(candidate)

    def follow(self, candidate: Candidate) -> None:
        """Learn at this rate, with this penalty, from now on."""
        self.rate, self.l2 = candidate.learning_rate, candidate.l2

    @property
    def state(self) -> State:
        """What it knows: the same object for as long as the model lives."""
        return self._state

    def score(self, row: Row) -> float:
        """P(true), or the estimate."""
        state = self._state
        margin = state.intercept + sum(map(mul, row.dense, state.dense))
        weights = state.sparse
        for column in row.sparse:
            margin += weights[column]
        return _sigmoid(margin) if state.binary else margin

    def learn(self, row: Row, label: float, weight: float) -> bool:
        """One step down the gradient; False, and nothing learned, when the result would not be finite."""
        self._widen(row)
        state = self._state
        error = self.score(row) - label
        error = weight * (error if state.binary else 2.0 * error)
        error = min(max(error, -_CLIP), _CLIP)
        old = state.dense
        gradients = [error * value for value in row.dense]
        if self.l2:
            gradients = [gradient + self.l2 * value for gradient, value in zip(gradients, old, strict=True)]
        rate = self.rate
        intercept, square = state.intercept - rate * error, 0.0
        if self.adagrad:
            square = state.intercept_square + error * error
            intercept = state.intercept - rate / sqrt(square + EPSILON) * error
            squares = list(map(_add_square, state.dense_squares, gradients))
            new = [
                value - rate / sqrt(square + EPSILON) * gradient
                for value, square, gradient in zip(old, squares, gradients, strict=True)
            ]
        else:
            squares = state.dense_squares
            new = [value - rate * gradient for value, gradient in zip(old, gradients, strict=True)]
        if not isfinite(sum(new) + sum(squares) + intercept + error * error):
            return False
        state.intercept, state.intercept_square = intercept, square
        state.dense, state.dense_squares = new, squares
        self._learn_sparse(row.sparse, error)
        return True

    def _learn_sparse(self, columns: list[int], error: float) -> None:
        weights, squares, rate, l2 = self._state.sparse, self._state.sparse_squares, self.rate, self.l2
        for column in columns:
            gradient = error + l2 * weights[column]
            if self.adagrad:
                square = squares[column] = squares[column] + gradient * gradient
                weights[column] -= rate / sqrt(square + EPSILON) * gradient
            else:
                weights[column] -= rate * gradient

    def _widen(self, row: Row) -> None:
        short = max(row.sparse, default=-1) + 1 - len(self._state.sparse)
        if short > 0:
            self._state.sparse += [0.0] * short
            self._state.sparse_squares += [0.0] * short

    def moved(self, moves: Moves, _plan: Plan) -> None:
        """Follow the columns to a new plan; new ones start at weight 0."""
        state = self._state
        state.dense = _picked(state.dense, moves.dense)
        state.dense_squares = _picked(state.dense_squares, moves.dense)
        state.sparse = _picked(state.sparse, moves.sparse)
        state.sparse_squares = _picked(state.sparse_squares, moves.sparse)

    def dump(self) -> bytes:
        """The whole state, as msgpack."""
        return msgspec.msgpack.encode(self._state)

    def served(self) -> bytes:
        """What scoring needs, as msgpack."""
        state = self._state
        return msgspec.msgpack.encode(State(state.binary, state.intercept, state.dense, state.sparse))


def new(candidate: Candidate, *, binary: bool, dense: int, sparse: int) -> Linear:
    """An untrained model: every weight 0, so a binary one says 0.5."""
    state = State(binary, 0.0, [0.0] * dense, [0.0] * sparse, [0.0] * dense, [0.0] * sparse)
    return Linear(state, candidate)


def load(data: bytes, candidate: Candidate | None = None) -> Linear:
    """From :meth:`Linear.dump`, or to score only, from :meth:`Linear.served`; msgspec errors for anything else."""
    return Linear(_STATE.decode(data), candidate)


def _sigmoid(margin: float) -> float:
    if margin < -CERTAIN:
        return 0.0
    return 1.0 if margin > CERTAIN else 1.0 / (1.0 + exp(-margin))


def _add_square(total: float, gradient: float) -> float:
    return total + gradient * gradient


def _picked(values: list[float], places: list[int | None]) -> list[float]:
    return [values[place] if place is not None and place < len(values) else 0.0 for place in places]
