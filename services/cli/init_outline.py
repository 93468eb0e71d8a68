"""A first pipeline, outlined from a sample of events and one of labels: pure, nothing is read or written here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.cli.init_answers import Labels, Task, Times, horizon, labels_of, times_of
from services.cli.init_columns import Column, Dropped, judged
from services.cli.init_leaks import tells
from services.cli.init_sample import Sample
from services.domain.spec_decode import nearest
from services.domain.spec_features import MOST_FEATURES
from services.runtime.settings import SettingsError

_DAY, _WEEKS = timedelta(days=1), timedelta(days=14)
_NAME_MAX = 256


class Asked(msgspec.Struct, frozen=True):
    """Which column is what. ``label_time`` is the time's own column where none is named."""

    id: str
    time: str
    label: str
    label_time: str | None = None
    task: Task | None = None


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into the file."""

    asked: Asked
    times: Times
    labels: Labels
    horizon: str
    longest: timedelta | None
    features: list[Column]
    dropped: list[Dropped]
    derived: list[str]
    telling: frozenset[str]
    """Features that know the label: do they know it beforehand?"""
    repeated: float
    """Share of events whose id came before."""


def outlined(asked: Asked, events: Sample, labels: Sample | None) -> Outline:
    """Outline a pipeline; ``labels`` is None when each event's label stands in its own record.

    SettingsError says in one line what is wrong with the sample, or with the columns that were named.
    """
    answers = labels or events
    label_time = asked.label_time or asked.time
    _require_columns(events, "events", {"--id": asked.id, "--time": asked.time})
    needed = {"--id": asked.id, "--label": asked.label, "--label-time": label_time}
    _require_columns(answers, "labels", needed)
    _require_distinct({"--id": asked.id, "--time": asked.time, "--label": asked.label})
    _require_distinct({"--id": asked.id, "--label-time": label_time, "--label": asked.label})
    times = times_of(asked.time, _values(events, asked.time))
    came = times_of(label_time, _values(answers, label_time), [times.time_format])
    found = labels_of(asked.label, _values(answers, asked.label), asked.task)
    ids, answered = _ids(events, asked.id), _ids(answers, asked.id)
    began = {name: time for name, time in zip(ids, times.found, strict=True) if time is not None and name}
    wait, longest = horizon(
        time - began[name]
        for name, time in zip(answered, came.found, strict=True)
        if time is not None and name in began
    )
    columns = [
        judged(name, _values(events, name))
        for name in events.columns
        if name not in (asked.id, asked.time, asked.label, label_time)
    ]
    derived = _derived(times)
    features, dropped = _features(columns, MOST_FEATURES - len(derived))
    if not features and not derived:
        raise SettingsError("no column is left to learn from: each is the id, a time or the label, or tells nothing")
    known = dict(zip(answered, found.found, strict=True))
    label_of = [known.get(name) for name in ids]
    return Outline(
        asked=asked, times=times, labels=found, horizon=wait, longest=longest, features=features, dropped=dropped,
        derived=derived, repeated=1 - len(set(ids)) / len(ids),
        telling=frozenset(each.name for each in features if tells(each, _values(events, each.name), label_of)),
    )  # fmt: skip


def _require_columns(sample: Sample, kind: str, named: dict[str, str]) -> None:
    if not sample.rows:
        raise SettingsError(f"the file of {kind} has no record that can be read: is it CSV (named .csv) or JSON lines?")
    for option, name in named.items():
        if name not in sample.columns:
            hint = nearest(name, sample.columns) or f": its columns are {', '.join(sample.columns[:20])}"
            raise SettingsError(f"the file of {kind} has no column {name!r} ({option}){hint}")


def _require_distinct(named: dict[str, str]) -> None:
    owners: dict[str, str] = {}
    for option, name in named.items():
        if name in owners:
            raise SettingsError(f"{owners[name]} and {option} both name the column {name!r}: they are different things")
        owners[name] = option


def _values(sample: Sample, name: str) -> list[Any]:
    return [row.get(name) for row in sample.rows]


def _ids(sample: Sample, name: str) -> list[str]:
    return [str(value) if value is not None else "" for value in _values(sample, name)]


def _derived(times: Times) -> list[str]:
    """Parts of the event's time that differ within the sample, over long enough for them to be no trend."""
    known: Sequence[datetime] = times.known
    span = max(known) - min(known)
    hours, weekdays = {time.hour for time in known}, {time.weekday() for time in known}
    return ["hour"] * (span >= _DAY and len(hours) > 1) + ["weekday"] * (span >= _WEEKS and len(weekdays) > 1)


def _features(columns: Sequence[Column | Dropped], most: int) -> tuple[list[Column], list[Dropped]]:
    features: list[Column] = []
    dropped: list[Dropped] = []
    for column in columns:
        if isinstance(column, Dropped):
            dropped.append(column)
        elif not column.name or len(column.name.encode()) > _NAME_MAX:
            dropped.append(Dropped(column.name[:_NAME_MAX], "has no name, or one that is too long"))
        elif len(features) == most:
            dropped.append(Dropped(column.name, f"is beyond the {MOST_FEATURES} features that a pipeline may have"))
        else:
            features.append(column)
    return features, dropped
