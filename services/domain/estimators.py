"""River estimators as candidates: they see an event as one flat dict, and a failed step leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from services.domain import pickles
from services.domain.columns import Moves, Row
from services.domain.encodings import names
from services.domain.foreign import ModelError, foreign
from services.domain.plan import Plan, text
from services.domain.records import LARGEST

JOURNAL = 500
"""Steps after which a dump is made if nobody has asked for one: so many a failed step costs again at most.

It bounds an undo of a forest of ten to about a second, for a tenth of its time spent on dumps: see
``docs/decisions/0005-snapshots.md`` for what was measured.
"""
MOST = 2 * JOURNAL
"""Steps that are remembered while the estimator cannot be dumped; one that still cannot then has come to its end."""

Flat = dict[str, Any]


class Estimator:
    """One River classifier or regressor.

    ``learn_one`` is not atomic, and copying a forest takes seconds. So the steps since the last dump are remembered:
    when one fails, the estimator is loaded from that dump, learns the others again, and is dumped, so that of many
    failures in a row each but the first costs one load. What a sequence of steps leads to thus never depends on when
    dumps were made.

    Whatever it raises is a ModelError. After one from :meth:`learn` it is of no more use.
    """

    codec: Literal["pickle"] = "pickle"

    def __init__(self, make: Callable[[], Any], plan: Plan, also: Iterable[pickles.Global], data: bytes | None) -> None:
        self._make = make
        self._also = tuple(also)
        self._plan(plan)
        self._dumped = data
        self._journal: list[tuple[Flat, bool | float, float]] = []
        self._estimator = self._rebuilt()

    def _plan(self, plan: Plan) -> None:
        self._binary = plan.task == "binary"
        self._plain = plan.numbers
        self._texts = tuple(field.name for field in plan.fields if len(field.by) == 1)
        self._encoded = tuple(names(plan).items())

    def _rebuilt(self) -> Any:
        if self._dumped is not None:
            return pickles.load(self._dumped, self._also)
        with foreign("making the model"):
            return self._make()

    def flat(self, row: Row) -> Flat:
        """The event as one dict: numbers and encoded numbers (missing ones absent), all else as text."""
        features = row.features
        flat: Flat = {name: value for name in self._plain if (value := features.get(name)) is not None}
        for name in self._texts:
            flat[name] = text(features.get(name))
        for name, columns in self._encoded:
            flat.update(zip(columns, row.encoded.get(name, ()), strict=False))
        return flat

    def score(self, row: Row) -> float:
        """P(true), 0.5 before anything is known, or the estimate."""
        with foreign("scoring an event"):
            if not self._binary:
                return _finite(self._estimator.predict_one(self.flat(row)) or 0.0)
            probabilities = self._estimator.predict_proba_one(self.flat(row))
            return _finite(probabilities.get(True, 0.0)) if probabilities else 0.5

    def learn(self, row: Row, label: float, weight: float) -> bool:
        """One step; False, and the estimator as it was, when it fails.

        ModelError when it cannot be made as it was, or cannot be dumped: after a failed step, or for ``MOST`` steps.
        """
        step = (self.flat(row), bool(label) if self._binary else label, weight)
        try:
            with foreign("learning"):
                _learn(self._estimator, *step)
        except ModelError:
            self._undo()
            return False
        self._journal.append(step)
        if len(self._journal) % JOURNAL == 0:
            self._dump_if_possible()
        return True

    def _undo(self) -> None:
        with foreign("undoing a failed step"):
            self._estimator = self._rebuilt()
            for past in self._journal:
                _learn(self._estimator, *past)
        if self._journal:
            self.dump()

    def _dump_if_possible(self) -> None:
        """Whoever asks for the next dump will be told; only the journal's bound makes it matter before."""
        try:
            self.dump()
        except ModelError:
            if len(self._journal) >= MOST:
                raise

    def moved(self, _moves: Moves, plan: Plan) -> None:
        """Follow a new plan: features come and go by name."""
        self._plan(plan)

    def dump(self) -> bytes:
        """A compact pickle."""
        with foreign("writing the model down"):
            self._dumped = pickles.dump(self._estimator, self._also)
        self._journal.clear()
        return self._dumped


def _learn(estimator: Any, flat: Flat, label: bool | float, weight: float) -> None:
    if weight == 1.0:
        estimator.learn_one(flat, label)
    else:
        estimator.learn_one(flat, label, w=weight)


def _finite(score: float) -> float:
    if not abs(score) < LARGEST:
        message = f"the estimator's prediction is {score}, not a number to reckon with"
        raise ValueError(message)
    return float(score)
