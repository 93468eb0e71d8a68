"""What a pipeline file's candidates must satisfy: one kind of model each, options that it has, names of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.domain.records import NUMBER_MAX
from services.domain.spec_decode import shown
from services.domain.spec_tables import Candidate, Problem, Spec, written

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z", re.ASCII)
_TASK = {"logistic_regression": "binary", "linear_regression": "regression"}
_OVERSHOOTS = 2.0
"""A step of gradient descent takes ``l2 * learning_rate`` of a weight off it: twice a weight turns it round."""
_LINEAR = ("optimizer", "learning_rate", "l2")
_OPTIONS = {
    "logistic_regression": _LINEAR,
    "linear_regression": _LINEAR,
    "hoeffding_adaptive_tree": ("seed",),
    "adaptive_random_forest": ("seed", "models"),
}


def candidates(spec: Spec) -> Iterator[Problem]:
    """Every problem of ``[[model.candidates]]``."""
    seen: dict[str, int] = {}
    for index, candidate in enumerate(spec.model.candidates):
        path = ("model", "candidates", index)
        if candidate.name in seen:
            message = (
                f"expected a name of its own, {shown(candidate.name)} is candidates[{seen[candidate.name]}] already"
            )
            yield Problem((*path, "name"), message)
        seen.setdefault(candidate.name, index)
        yield from _kind(candidate, spec.pipeline.task, path)
        yield from _options(candidate, path)


def _kind(candidate: Candidate, task: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if (candidate.model is None) == (candidate.factory is None):
        yield Problem(path, 'expected exactly one of model = "logistic_regression" (or another of the catalogue) and '
                      'factory = "package.module:function"')  # fmt: skip
    if candidate.factory is not None and not _FACTORY.match(candidate.factory):
        message = f'expected "package.module:function", got {shown(candidate.factory)}'
        yield Problem((*path, "factory"), message)
    wanted = _TASK.get(candidate.model or "", task)
    if wanted != task:
        message = f'{candidate.model} learns a {wanted} task, the pipeline\'s is "{task}"'
        yield Problem((*path, "model"), message)


def _options(candidate: Candidate, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if candidate.learning_rate <= 0:
        message = f"expected a number above 0, got {shown(candidate.learning_rate)}"
        yield Problem((*path, "learning_rate"), message)
    if candidate.l2 < 0:
        yield Problem((*path, "l2"), f"expected 0 or more, got {shown(candidate.l2)}")
    most = _OVERSHOOTS if candidate.optimizer == "sgd" else NUMBER_MAX
    if candidate.l2 * candidate.learning_rate >= most:
        message = (
            f"expected less than {most:g} / learning_rate, or weights grow with every step, got {shown(candidate.l2)}"
        )
        yield Problem((*path, "l2"), message)
    taken = _OPTIONS.get(candidate.model or "", ())
    for key in written(candidate, (*_LINEAR, "models", "seed")):
        if candidate.model is not None and key not in taken:
            yield Problem((*path, key), f"{candidate.model} has no such option; it has {', '.join(taken)}")
        elif candidate.model is None and candidate.factory is not None:
            yield Problem((*path, key), "goes with models of the catalogue; set it in the factory's function")
