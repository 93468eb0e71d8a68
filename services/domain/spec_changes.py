"""What may change in a pipeline that runs: the learner's log goes on under the new file, or it cannot.

A model's history is read under the names of features, encodings and candidates. A name may come or go; what a
name means may not change under it, or the old state would be read as something that it never was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from services.domain.spec_decode import shown
from services.domain.spec_tables import Spec

Kind = Literal["none", "in place", "needs a new name", "needs a new pipeline name"]
_RANK: tuple[Kind, ...] = ("none", "in place", "needs a new name", "needs a new pipeline name")

_PIPELINE_FOR_EVER = {
    "pipeline.name": "topics, groups and models carry it",
    "pipeline.task": "every example in the log is labelled for the old task",
    "topics.partitions": "the same id would lie on another partition than its past",
    "event.id": "events, labels and predictions are matched by it",
    "event.time": "the log's event times would mean two things",
    "label.id": "labels and predictions are matched by it",
    "label.value": "the log's labels would mean two things",
    "label.time": "the log's label times would mean two things",
}
_MEANING = {
    "features": ("type", "derive"),
    "crosses": (),
    "encodings": ("half_life", "as"),
    "model.candidates": ("model", "factory", "optimizer", "models", "seed"),
}
_ADVICE = {
    "features": "models have learned from the old meaning; give the feature another name, with this one in aliases",
    "encodings": "models have learned from the old means; an encoding is named by its fields, so write them in another "
    "order, or, when there is but one, use a new pipeline name",
    "model.candidates": "the old state does not fit; give the candidate another name and it learns beside this one",
}
_Named = dict[str, dict[str, Any]]


class Change(msgspec.Struct, frozen=True):
    """One difference: its kind, its key, and in words what it was, what it is, and what to do where it cannot be."""

    kind: Kind
    key: str
    message: str


class Changes(msgspec.Struct, frozen=True):
    """All differences between two pipeline files, in the order of tables; ``kind`` is that of the gravest."""

    kind: Kind
    items: tuple[Change, ...]

    @property
    def allowed(self) -> bool:
        """Whether a running pipeline may go on under the new file."""
        return self.kind in {"none", "in place"}


def changes(old: Spec, new: Spec) -> Changes:
    """Compare two valid specs; ``allowed`` says whether ``new`` may continue the log that ``old`` began."""
    items = (*_of_tables(old, new), *_of_names(old, new))
    gravest = max((_RANK.index(item.kind) for item in items), default=0)
    return Changes(kind=_RANK[gravest], items=items)


def _of_tables(old: Spec, new: Spec) -> Iterator[Change]:
    before, after = _flat(_tables(old), ""), _flat(_tables(new), "")
    for key, value in after.items():
        if value == before[key]:
            continue
        told = f"{_written(before[key])} → {_written(value)}"
        reason = _PIPELINE_FOR_EVER.get(key)
        if reason:
            yield Change("needs a new pipeline name", key, f"{told}: {reason}; use a new pipeline name")
        else:
            yield Change("in place", key, told)


def _of_names(old: Spec, new: Spec) -> Iterator[Change]:
    before, after = _names(old), _names(new)
    for table, named in after.items():
        past = before[table]
        for name in (name for name in past if name not in named):
            yield Change("in place", f"{table}.{name}", "removed: missing from here on")
        for name in named:
            if name not in past:
                yield Change("in place", f"{table}.{name}", "added: in force from here on")
            else:
                yield from _of_keys(table, name, past[name], named[name])
        kept = [name for name in past if name in named]
        if kept != [name for name in named if name in past]:
            yield Change("in place", table, "in another order")


def _of_keys(table: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key, value in after.items():
        if value != before[key]:
            told = f"{_written(before[key])} → {_written(value)}"
            path = f"{table}.{name}.{key}"
            if key in _MEANING[table]:
                yield Change("needs a new name", path, f"{told}: {_ADVICE[table]}")
            else:
                yield Change("in place", path, told)


def _tables(spec: Spec) -> dict[str, Any]:
    every = msgspec.to_builtins(spec)
    return {name: every[name] for name in ("pipeline", "topics", "event", "label", "snapshots", "drift")}


def _names(spec: Spec) -> dict[str, _Named]:
    """What is known by name: features and candidates by theirs, crosses and encodings by their fields."""
    every = msgspec.to_builtins(spec)
    return {
        "features": every["features"],
        "crosses": {"*".join(cross["by"]): cross for cross in every["crosses"]},
        "encodings": {"+".join(encoding["by"]) or "*": encoding for encoding in every["encodings"]},
        "model.candidates": {candidate["name"]: candidate for candidate in every["model"]["candidates"]},
    }


def _flat(tables: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _written(value: object) -> str:
    return "unset" if value is None else shown(value)
