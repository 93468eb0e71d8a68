"""A small log in which nothing is wrong, for tests to break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from chaos.facts import Dead, Facts, Item, Learned, Told
from chaos.registry import Alias, Registry, Version
from schemas.alerts import Alert, Position
from schemas.models import AliasRecord
from schemas.outcomes import Outcome, State
from schemas.state import Checkpoint

T0 = datetime(2024, 1, 1, tzinfo=UTC)
PIPELINE = "chaos"
CLOSING = "closing-"


def at(minutes: int) -> datetime:
    return T0 + timedelta(minutes=minutes)


def label(partition: int, offset: int, name: str, minutes: int, *, value: bool = True, stamp: int = 0) -> Item:
    """A label, raw or clean."""
    return Item(partition, offset, name, at(minutes), label=value, stamp=stamp)


def told(offset: int, name: str, state: State, of: tuple[int | None, int | None], minutes: int = 0) -> Told:
    """An outcome of (prediction, label), by their offsets."""
    value = None if state == "expired" else state != "corrected"
    return Told(0, offset, Outcome(name, state, value, at(minutes), None, *of))


def alert(
    number: int, state: Literal["opened", "updated", "resolved"], incident: str = "i", kind: Any = "drift"
) -> Alert:
    return Alert(
        f"{incident}-{number}", incident, state, "recovered" if state == "resolved" else None, kind, "warning", "x", "",
        {}, [], None, T0, Position("chaos.summaries", 0, 0),
    )  # fmt: skip


def checkpoint(stage: str, lane: int, **totals: int) -> tuple[tuple[str, int], Checkpoint]:
    return (stage, lane), Checkpoint(stage, lane, {}, {}, None, totals, None, msgspec.Raw(b"null"))


def facts() -> Facts:
    """Events a (twice), b, c (from another partition), one poisoned, one closing; a corrected, b expired, c labelled."""
    names = ("a", "b", "c", f"{CLOSING}1")
    return Facts(
        raw_events=[
            Item(0, 0, "a"), Item(0, 1, "a"), Item(0, 2, "b"), Item(0, 3, "", None, "json_invalid"), Item(0, 4, f"{CLOSING}1"), Item(1, 0, "c"),
        ],
        raw_labels=[
            label(0, 0, "a", 1), label(0, 1, "a", 2, value=False), Item(0, 2, "", None, "id_missing"), label(1, 0, "c", 3),
        ],
        dead=[Dead("clean", "chaos.events.raw", 0, 3, "json_invalid"), Dead("clean", "chaos.labels.raw", 0, 2, "id_missing")],
        events=[Item(0, 10 + place, name) for place, name in enumerate(names)],
        labels=[label(0, 20, "a", 1), label(0, 21, "a", 2, value=False), label(0, 22, "c", 3)],
        predictions=[
            Item(0, 30 + place, name, at(60 * (place > 2)), stamp=10_000 * place, served=place) for place, name in enumerate(names)
        ],
        outcomes=[
            told(40, "a", "labelled", (30, 20), 1), told(41, "a", "corrected", (30, 21), 2), told(42, "b", "expired", (31, None), 20),
            told(43, "c", "labelled", (32, 22), 3),
        ],
        examples=[
            Learned(1, "a", at(1), True, None), Learned(2, "a", at(2), False, True),
            Learned(3, "c", at(3), True, None, served=2),
        ],
        examples_end=4,
        alerts=[alert(1, "opened"), alert(2, "updated"), alert(3, "resolved"), alert(1, "opened", "j")],
        aliases={"champion": record(2)},
        checkpoints=dict([
            checkpoint("clean", 0, duplicates=1, events=4, labels=3), checkpoint("score", 0, predictions=4),
            checkpoint("join", 0, labelled=2, corrected=1, expired=1), checkpoint("train", 0, examples=2, corrections=1),
        ]),
    )  # fmt: skip


def record(version: int, *, live: bool = True) -> AliasRecord:
    return AliasRecord(
        "champion", 5, PIPELINE, "first", version, live, "s", "", 0, "", "", 0, None, "", "", T0
    )  # fmt: skip


def version(number: int, state: str = "stored", offset: int = 3, candidate: str = "first") -> Version:
    return Version(number, candidate, "log", offset, f"blob{number}", "", 10, state)


def registry() -> Registry:
    """Champion was given to the first candidate and has followed it from version 1 to 2; two of each other candidate."""
    others = [(3, "second"), (4, "second"), (5, "tree"), (6, "tree")]
    return Registry(
        versions={1: version(1, "thinned"), 2: version(2)}
        | {number: version(number, "thinned", candidate=candidate) for number, candidate in others},
        aliases={"champion": Alias("champion", "first", 2, live=True, revision=5)},
        log=[Alias("champion", "first", 1, live=True, revision=1)],
        blobs={"blob2": 10},
        damaged=[],
    )
