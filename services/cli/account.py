"""The account of a pipeline: every raw record is accounted for at every stage, or the account does not balance.

Pure: what was read from checkpoints, offsets and topics goes in (:mod:`services.cli.settle` reads it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from schemas.state import Checkpoint
from services.cli.positions import starting, totals

_LABEL_ENDS = ("labelled", "corrected", "duplicate", "superseded", "orphan")
OUTCOMES = (*_LABEL_ENDS, "expired")


class Equation(msgspec.Struct, frozen=True):
    """Two sides that must be equal, each a sum of named counts."""

    name: str
    left: dict[str, int]
    right: dict[str, int]

    @property
    def difference(self) -> int:
        """Left less right: 0 when it balances; above that, what is on its way or lost."""
        return sum(self.left.values()) - sum(self.right.values())


class Check(msgspec.Struct, frozen=True):
    """What the checkpoints say went into a topic, and what lies there (None: retention has removed some of it)."""

    what: str
    told: int
    found: int | None

    @property
    def agrees(self) -> bool:
        """Whether the topic holds what the checkpoints say, as far as can be told."""
        return self.found is None or self.found == self.told


class Account(msgspec.Struct, frozen=True):
    """The equations, and their counts checked against the topics. It balances when all of both are right."""

    pipeline: str
    balanced: bool
    equations: list[Equation]
    checks: list[Check]
    totals: dict[str, dict[str, int]]


class Found(msgspec.Struct, frozen=True):
    """Counts of committed records by what they are (:func:`expected` has the names), and topics cut by retention."""

    counts: dict[str, int]
    cut: frozenset[str] = frozenset()


def stage_totals(checkpoints: Sequence[Checkpoint]) -> dict[str, dict[str, int]]:
    """The totals of each stage, its lanes added up."""
    return {stage: totals(checkpoints, stage) for stage in ("clean", "score", "join", "train", "summarise", "detect")}


def account(
    pipeline: str, stages: Mapping[str, Mapping[str, int]], produced: Mapping[str, int], found: Found | None = None
) -> Account:
    """Draw up the account. ``produced`` has what lies in the raw topics: ``events`` and ``labels``."""
    equations = list(books(stages, produced))
    checks = [] if found is None else _checks(stages, found)
    balanced = all(each.difference == 0 for each in equations) and all(each.agrees for each in checks)
    return Account(pipeline, balanced, equations, checks, {name: dict(each) for name, each in stages.items()})


def books(stages: Mapping[str, Mapping[str, int]], produced: Mapping[str, int]) -> list[Equation]:
    """The equations, in the order that a record passes the stages."""
    clean, score, join, train, summarise, detect = (
        stages[name] for name in ("clean", "score", "join", "train", "summarise", "detect")
    )
    invalid = clean.get("deadletter.events.rekeyed_invalid", 0)
    examples = {name: join.get(name, 0) for name in ("labelled", "corrected", "expired_default")}
    return [
        Equation("raw events", {"produced": produced["events"]}, {
            "cleaned": clean.get("events", 0), "duplicates": clean.get("duplicates", 0),
            "dead letters": starting(clean, "deadletter.events.") - invalid,
        }),
        Equation("raw labels", {"produced": produced["labels"]}, {
            "cleaned": clean.get("labels", 0), "dead letters": starting(clean, "deadletter.labels."),
        }),
        Equation("re-keyed", {
            "events": clean.get("rekeyed_events", 0), "labels": clean.get("rekeyed_labels", 0), "others'": invalid,
        }, {"read again": clean.get("rekeyed_in", 0)}),
        Equation("clean events", {"cleaned": clean.get("events", 0)}, {"read by scoring": score.get("in", 0)}),
        Equation("scoring", {"read": score.get("in", 0)}, {
            "predictions": score.get("predictions", 0), "dead letters": starting(score, "deadletter."),
        }),
        Equation("predictions", {"made": score.get("predictions", 0)}, {
            **_named(join, ("labelled", "expired", "pending", "repeats")),
            "dead letters": starting(join, "deadletter.predictions."),
        }),
        Equation("labels", {"cleaned": clean.get("labels", 0)}, {
            **_named(join, (*_LABEL_ENDS, "waiting")), "dead letters": starting(join, "deadletter.labels."),
        }),
        Equation("examples", examples, {
            **_named(train, ("examples", "corrections")), "dead letters": starting(train, "deadletter."),
        }),
        Equation("summarised", {"predictions": score.get("predictions", 0), **examples}, {
            **_named(summarise, ("predictions", "examples")), "dead letters": starting(summarise, "deadletter."),
        }),
        Equation("summaries", {"sent": summarise.get("summaries", 0)}, {
            "judged": detect.get("summaries", 0), "dead letters": starting(detect, "deadletter."),
        }),
    ]  # fmt: skip


def _named(stage: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {name.replace("_", " "): stage.get(name, 0) for name in names}


def expected(stages: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What the topics must hold by the checkpoints, by ``<stream>`` or ``<stream>/<kind>``."""
    clean, score, join, train = (stages[name] for name in ("clean", "score", "join", "train"))
    told = {
        "rekeyed": clean.get("rekeyed_in", 0),
        "events.clean": clean.get("events", 0),
        "labels.clean": clean.get("labels", 0),
        "predictions": score.get("predictions", 0),
        **{f"outcomes/{state}": join.get(state, 0) for state in OUTCOMES},
        "examples/example": join.get("labelled", 0) + join.get("corrected", 0) + join.get("expired_default", 0),
        "examples/control": train.get("controls", 0),
        "summaries": stages["summarise"].get("summaries", 0),
    }
    for stage, kinds in (("clean", ("events", "labels")), ("join", ("predictions", "labels"))):
        for kind in kinds:
            told[f"deadletter/{stage}/{kind}"] = starting(stages[stage], f"deadletter.{kind}.")
    for stage in ("score", "train", "summarise", "detect"):
        told[f"deadletter/{stage}"] = starting(stages[stage], "deadletter.")
    return told


def _checks(stages: Mapping[str, Mapping[str, int]], found: Found) -> list[Check]:
    told = expected(stages)
    names = [*told, *(name for name in found.counts if name not in told)]
    return [
        Check(name, told.get(name, 0), None if name.partition("/")[0] in found.cut else found.counts.get(name, 0))
        for name in names
    ]
