"""The judgement on a changed contract is what real msgspec readers of both sides make of each other's records."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest

from schemas.compatibility import differences, holds, unreadable
from schemas.contracts import schema_of


def struct(*fields: Any, name: str = "Record", **options: Any) -> Any:
    return msgspec.defstruct(name, fields, **options)


@dataclass
class Case:
    """A contract before and after a change, and records that a writer of either side may write."""

    before: Any
    after: Any
    yesterday: list[Any] = field(default_factory=list)
    today: list[Any] = field(default_factory=list)


A, X = ("a", int), ("x", str)
INNER, GROWN = struct(X, name="Inner"), struct(X, ("y", int, 0), name="Inner")
ONE, TWO = struct(A, name="One", tag="one"), struct(X, name="Two", tag="two")
BREAKING = {
    "a field is gone": Case(struct(A, X), struct(A), today=[{"a": 1}]),
    "a field with a default is gone": Case(struct(A, ("x", str, "")), struct(A), yesterday=[{"a": 1, "x": "b"}]),
    "a field has another name": Case(struct(A, X), struct(A, ("z", str)), yesterday=[{"a": 1, "x": "b"}]),
    "a new field has no default": Case(struct(A), struct(A, X), yesterday=[{"a": 1}]),
    "a field may be left out": Case(struct(X), struct(("x", str, ""), omit_defaults=True), today=[{}]),
    "a field must be there": Case(struct(("x", str, "")), struct(X), yesterday=[{}]),
    "another default": Case(struct(("a", int, 1)), struct(("a", int, 2)), yesterday=[{}]),
    "another type": Case(struct(A), struct(("a", str)), yesterday=[{"a": 1}]),
    "a wider type": Case(struct(A), struct(("a", float)), today=[{"a": 1.5}]),
    "a narrower type": Case(struct(("a", float)), struct(A), yesterday=[{"a": 1.5}]),
    "null is new": Case(struct(X), struct(("x", str | None)), today=[{"x": None}]),
    "null is gone": Case(struct(("x", str | None)), struct(X), yesterday=[{"x": None}]),
    "a new word": Case(struct(("x", Literal["a"])), struct(("x", Literal["a", "b"])), today=[{"x": "b"}]),
    "a word is gone": Case(struct(("x", Literal["a", "b"])), struct(("x", Literal["a"])), yesterday=[{"x": "b"}]),
    "text becomes a list of words": Case(struct(X), struct(("x", Literal["a"])), yesterday=[{"x": "b"}]),
    "text becomes a time": Case(struct(X), struct(("x", datetime)), yesterday=[{"x": "b"}]),
    "a bound": Case(struct(X), struct(("x", Annotated[str, msgspec.Meta(max_length=1)])), yesterday=[{"x": "bc"}]),
    "inside a field": Case(struct(("i", INNER)), struct(("i", struct(A, name="Inner"))), today=[{"i": {"a": 1}}]),
    "inside a list": Case(struct(("i", list[int])), struct(("i", list[str])), today=[{"i": ["b"]}]),
    "inside a map": Case(struct(("i", dict[str, int])), struct(("i", dict[str, float])), today=[{"i": {"k": 1.5}}]),
    "inside what may be null": Case(
        struct(("i", INNER | None)), struct(("i", struct(X, A, name="Inner") | None)), yesterday=[{"i": {"x": "b"}}]
    ),
    "a new kind of record": Case(ONE, ONE | TWO, today=[{"type": "two", "x": "b"}]),
    "a kind of record is gone": Case(ONE | TWO, ONE, yesterday=[{"type": "two", "x": "b"}]),
    "another tag": Case(ONE | TWO, ONE | struct(X, name="Two", tag="2"), today=[{"type": "2", "x": "b"}]),
    "a list in place of an object": Case(struct(A), struct(A, array_like=True), today=[[1]]),
}  # fmt: skip
ADDITIVE = {
    "nothing": Case(struct(A), struct(A), [{"a": 1}], [{"a": 1}]),
    "a field with a default": Case(struct(A), struct(A, ("x", str, "")), [{"a": 1}], [{"a": 1, "x": "b"}]),
    "an object with a default": Case(
        struct(A), struct(A, ("i", INNER | None, None)), [{"a": 1}], [{"a": 1, "i": {"x": "b"}}]
    ),
    "inside a field": Case(
        struct(("i", INNER)), struct(("i", GROWN)), [{"i": {"x": "b"}}], [{"i": {"x": "b", "y": 1}}]
    ),
    "inside a list": Case(
        struct(("i", list[INNER])), struct(("i", list[GROWN])), [{"i": [{"x": "b"}]}], [{"i": [{"x": "b", "y": 1}]}]
    ),
    "inside what may be null": Case(
        struct(("i", INNER | None)), struct(("i", GROWN | None)), [{"i": {"x": "b"}}, {"i": None}],
        [{"i": {"x": "b", "y": 1}}, {"i": None}],
    ),
    "inside one kind of record": Case(
        ONE | TWO, struct(X, ("y", int, 0), name="Two", tag="two") | ONE, [{"type": "two", "x": "b"}],
        [{"type": "two", "x": "b", "y": 1}, {"type": "one", "a": 1}],
    ),
    "another order of fields": Case(struct(A, X), struct(X, A), [{"a": 1, "x": "b"}], [{"x": "b", "a": 1}]),
    "another name of the Struct": Case(struct(A), struct(A, name="Other"), [{"a": 1}], [{"a": 1}]),
    "other words about it": Case(
        struct(A), struct(("a", Annotated[int, msgspec.Meta(description="a number")])), [{"a": 1}], [{"a": 1}]
    ),
}  # fmt: skip


def read(kind: Any, record: Any) -> Any:
    """What a reader understands, or None if it refuses the record."""
    try:
        return json.loads(msgspec.json.encode(msgspec.json.decode(json.dumps(record).encode(), type=kind)))
    except msgspec.ValidationError:
        return None


def are_read_alike(case: Case) -> bool:
    """Whether readers of both sides read each record, and the later one what the earlier one does."""
    return all(
        read(case.before, record) is not None and holds(read(case.after, record), read(case.before, record))
        for record in [*case.yesterday, *case.today]
    )


def told(case: Case) -> list[str]:
    return differences(schema_of(case.before), schema_of(case.after))


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_a_real_reader_is_told(name):
    """Some record is refused by a reader of one side, or means something else to it, and the gate says so."""
    assert not are_read_alike(BREAKING[name])
    assert told(BREAKING[name])


@pytest.mark.parametrize("name", ADDITIVE)
def test_what_only_adds_breaks_no_real_reader_and_passes(name):
    """Readers of both sides read the records of both alike, and the gate is silent."""
    assert are_read_alike(ADDITIVE[name])
    assert told(ADDITIVE[name]) == []


def test_what_is_told_names_the_place():
    """A person reads where the contract changed and how."""
    before = struct(A, X, ("i", list[INNER]), ("w", Literal["a"]))
    after = struct(("a", str), ("i", list[struct(A, name="Inner")]), ("w", Literal["a", "b"]), ("n", int))
    assert sorted(differences(schema_of(before), schema_of(after))) == [
        '.a: type was "integer", is "string"',
        ".i[].a: is new and has no default",
        ".i[].x: is gone",
        ".n: is new and has no default",
        '.w: has the new word "b"',
        ".x: is gone",
    ]


def test_a_kind_of_record_is_named():
    """A union that takes more or less says which kind."""
    assert told(BREAKING["a new kind of record"])[-1] == ": newly takes Two"
    assert told(BREAKING["a kind of record is gone"])[-1] == ": no longer takes Two"


@pytest.mark.parametrize(
    ("kind", "example", "why"),
    [(struct(A), {"a": 1}, ""), (struct(A, ("x", str, "")), {"a": 1}, ""), (struct(A, X), {"a": 1}, "cannot be read"),
     (struct(A), {"a": 1, "x": "b"}, "does not say the same"), (struct(("a", float)), {"a": 1}, "does not say the same")],
)  # fmt: skip
def test_an_example_must_be_read_and_mean_the_same(kind, example, why):
    """An old example is read, and encoded again it has the values it had; what has been added does not matter."""
    assert why in unreadable(kind, example)
    assert bool(why) == bool(unreadable(kind, example))
