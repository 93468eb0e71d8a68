"""Estimators that misbehave when an event tells them to, for candidates that are made by a factory."""

from __future__ import annotations

from typing import Any

from river.tree import HoeffdingAdaptiveTreeClassifier

from tests.unit.stream import LOGISTIC, spec

CANDIDATE = f"""
[[model.candidates]]
name = "own"
factory = "{__name__}:Moody"
"""
GROWING = f"""
[[model.candidates]]
name = "growing"
factory = "{__name__}:growing"
"""
ALLOWED = [(__name__, "Moody")]
MOOD = "carrier"
"""The small pipeline of :mod:`tests.unit.stream` has the mood in this feature; pipelines of the broker tests in color."""
steps: list[Any] = []
"""Every call of learn_one in this process."""


class Panic(BaseException):
    """What PyO3 makes of a panic in Rust: no Exception."""


class Moody:
    """P(true) falls with what it has learned. The event's mood is one of its features.

    ``fails`` and ``panics`` raise from learning, half-way; ``closed`` cannot be pickled until an ``open`` one comes;
    ``mute`` and ``lost`` cannot be scored.
    """

    def __init__(self) -> None:
        self.learned = 0
        self.held: Any = None

    def learn_one(self, x: dict[str, Any], _y: bool) -> None:
        steps.append(x)
        self.learned += 1
        mood = x.get(MOOD) or x.get("color")
        if mood == "fails":
            raise ArithmeticError("out of sorts")
        if mood == "panics":
            raise Panic("index out of bounds")
        if mood == "closed":
            self.held = lambda: None
        if mood == "open":
            self.held = None

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        if x.get(MOOD) == "mute":
            raise Panic("no words")
        return {True: float("nan") if x.get(MOOD) == "lost" else 1 / (1 + self.learned)}


def stillborn() -> Moody:
    made = Moody()
    made.held = lambda: None
    return made


def growing() -> HoeffdingAdaptiveTreeClassifier:
    """The catalogue's tree, in a hurry: it has split after some ten examples in place of many hundred."""
    return HoeffdingAdaptiveTreeClassifier(grace_period=5, delta=0.2, tau=0.2, seed=1)


SPEC = spec(LOGISTIC + CANDIDATE)
