"""What a column of a sample is: its type as cleaning would read it, and what is to be known of its values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from services.cleaning.core.repair import boolean, number
from services.cleaning.core.rules import plain

Kind = Literal["number", "boolean", "category"]
_MISSING = ("", "missing_text", "not_a_number", "infinite")
"""Rules after which a value that is None was meant to be missing, and is not one of another type."""
_MOST = 0.95
"""A column is of a type when this share of its values is; the others are what cleaning repairs or leaves out."""
_FEW = 20
_TEXTS_LEAST, _TEXTS_SHARE = 100, 0.5
_WRITTEN = 40
_ID_LEAST = 20
_ID_NAME = re.compile(r"(^|[_\W])(id|uuid|guid|key|no|nr|number)$|[a-z]I[dD]$", re.IGNORECASE)


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column that is a feature. ``counts`` are of a category's or a boolean's values, as they are written."""

    name: str
    kind: Kind
    missing: float
    values: Sequence[float] = ()
    """Of a number: sorted."""
    counts: dict[str, int] = {}
    folded: int = 0
    """Of a category: how many values there are but for case."""
    whole: bool = False
    """Of a number: all are whole and few, as codes are."""


class Dropped(msgspec.Struct, frozen=True):
    """A column that is no feature, and why."""

    name: str
    why: str


def judged(name: str, raw: Sequence[Any]) -> Column | Dropped:
    """What the values of one column are; ``raw`` has one a record, None where it is missing."""
    there = [value for value in raw if not is_missing(value)]
    missing = 1 - len(there) / len(raw) if raw else 1.0
    if not there:
        return Dropped(name, "has no value in the sample")
    if any(isinstance(value, list | dict) for value in there):
        return Dropped(name, "holds lists or objects: an event is a flat object")
    if len(written := {_written(value) for value in there}) == 1:
        return Dropped(name, f"is always {written.pop()}: it can tell nothing")
    numbers, booleans = _share(number, there), _share(boolean, there)
    if booleans == 1 or (booleans >= _MOST and numbers < _MOST):
        counts = Counter(map(_written, there))
        return Column(name=name, kind="boolean", missing=missing, counts=dict(counts.most_common()))
    if numbers >= _MOST:
        return _number(name, there, missing)
    return _category(name, there, missing)


def is_missing(value: Any) -> bool:
    """Whether a raw value says that there is none, as cleaning reads it."""
    if value is None:
        return True
    found, rule = number(value) if isinstance(value, str | float) else (0.0, "")
    return found is None and rule in _MISSING


def _share(read: Any, there: Sequence[Any]) -> float:
    return sum(read(value)[0] is not None for value in there) / len(there)


def _written(value: Any) -> str:
    """A value as a category would hold it."""
    text = plain(value)
    if isinstance(text, float) and text.is_integer():
        return str(int(text))
    return str(text).lower() if isinstance(text, bool) else str(text)


def _number(name: str, there: Sequence[Any], missing: float) -> Column | Dropped:
    values = sorted(found for value in there if (found := number(value)[0]) is not None)
    distinct = len(set(values))
    if distinct == 1:
        return Dropped(name, f"is always {values[0]:g}: it can tell nothing")
    whole = all(value.is_integer() for value in values)
    if whole and distinct == len(values) >= _ID_LEAST and (_ID_NAME.search(name) or _consecutive(values)):
        return Dropped(name, "is a number of its own on each record, as ids are")
    return Column(name=name, kind="number", missing=missing, values=values, whole=whole and distinct <= _FEW)


def _consecutive(values: Sequence[float]) -> bool:
    return values[-1] - values[0] == len(values) - 1


def _category(name: str, there: Sequence[Any], missing: float) -> Column | Dropped:
    counts = Counter(" ".join(_written(value).split()) for value in there)
    if _share(_moment, there) >= _MOST:
        return Dropped(name, "is a time; the hour, weekday and month of the event's own time can be derived")
    if len(counts) >= _TEXTS_LEAST and len(counts) > _TEXTS_SHARE * len(there):
        return Dropped(name, f"has {len(counts):,} values on {len(there):,} records, as ids and free texts have")
    if len(counts) > _ID_LEAST and len(counts) == len(there):
        return Dropped(name, "is a text of its own on each record, as ids are")
    return Column(
        name=name, kind="category", missing=missing, counts=dict(counts.most_common()),
        folded=len({text.upper() for text in counts}),
    )  # fmt: skip


def _moment(value: Any) -> tuple[datetime | None, str]:
    try:
        return msgspec.convert(value, datetime), ""
    except (msgspec.MsgspecError, ValueError):
        return None, ""
