"""From a row of raw values to clean features: standardise, ranges, outliers, imputation, derived fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from schemas.events import Change, Value
from services.cleaning.core.derived import Derived
from services.cleaning.core.repair import repair_of
from services.cleaning.core.rules import Rejected, change, shown
from services.cleaning.core.statistics import BooleanProfile, CategoryProfile, NumberProfile, Profile, Robust
from services.cleaning.core.tidy import tidy_rows
from services.domain.records import NUMBER_MAX
from services.domain.spec import Feature, Spec

_BUFFERED_VALUES = 600
_LEAST_BLOCK, _GREATEST_BLOCK = 3, 31
_KNOWN_MAX = 20_000
_PROFILES: dict[str, type[Profile]] = {
    "number": NumberProfile,
    "boolean": BooleanProfile,
    "category": CategoryProfile,
}


def strict_type(feature: Feature) -> Any:
    """The type that the strict decode demands of a feature: numbers within their range, if that is known then."""
    if feature.type == "boolean":
        return bool
    if feature.type == "category":
        return str
    low, high = (-NUMBER_MAX, NUMBER_MAX) if feature.unit == 1.0 else (None, None)
    if feature.unit == 1.0 and feature.range is not None and feature.outside != "keep":
        low, high = feature.range
    return float if low is None else Annotated[float, msgspec.Meta(ge=low, le=high)]


class Features:
    """The features of one pipeline on one lane: their rules and their statistics."""

    def __init__(self, spec: Spec) -> None:
        read = {name: feature for name, feature in spec.features.items() if feature.derive is None}
        derived = {name: feature.derive for name, feature in spec.features.items() if feature.derive is not None}
        self.types = {name: strict_type(feature) for name, feature in read.items()}
        self.names = tuple(read)
        self._features = list(read.values())
        self._repairs = [repair_of(name, feature) for name, feature in read.items()]
        self._stand_ins = [_stand_in(name, feature) for name, feature in read.items()]
        self._derived = Derived(tuple(derived.values()), spec.event.timezone)
        fields = [(f"f{i}", Any, msgspec.field(name=name)) for i, name in enumerate((*read, *derived))]
        self._made = msgspec.defstruct("Features", fields, gc=False)
        """All features by name: made and encoded in a third of the time that a dict takes."""
        kinds = [feature.type for feature in self._features]
        self._known: dict[int, set[Any]] = {i: set() for i, kind in enumerate(kinds) if kind == "category"}
        self.profiles: list[Profile] = [_PROFILES[kind]() for kind in kinds]
        self.robust = _robust(self._features)
        self._imputed = [i for i, feature in enumerate(self._features) if feature.missing not in ("keep", "reject")]
        self._demanded = [i for i, feature in enumerate(self._features) if feature.missing == "reject"]
        self._pending: list[Sequence[Value]] = []
        self._folded = [0] * len(kinds)
        self.wire()

    def wire(self) -> None:
        """Look up again what :attr:`robust` holds (call it after replacing any of it)."""
        for robust in self.robust.values():
            robust.bound()
        self._watched = [(i, self.robust[i]) for i, f in enumerate(self._features) if f.outliers is not None]
        self._room = min((r.size - len(r.block) for r in self.robust.values()), default=-1)
        self._tidy = tidy_rows(
            self._features,
            self._known,
            self.robust,
            made=self._made,
            derived=self._derived,
            impute=self._impute,
            observed=self._count_down,
            keep=self._pending.append,
        )

    def clean(
        self, row: Sequence[Any], time: datetime, changes: list[Change] | None
    ) -> tuple[msgspec.Struct, list[Change]]:
        """The features of one event by name, and all repairs made to it, ``changes`` (so far) first.

        ``row`` has its id, its time, then its features as they came; ``changes`` is None when it came through the strict
        decode. Rejected if a rule says so.
        """
        if changes is None:
            changes = []
            tidy = self._tidy(row, time, changes)
            if tidy is not None:
                return tidy, changes
        return self._made(*self._settle(row, changes), *self._derived.of(time)), changes

    def fold(self) -> None:
        """Bring the profiles up to the last event (at the end of each batch)."""
        if self._pending:
            for i, column in enumerate(zip(*self._pending, strict=True)):
                self.profiles[i].extend(column[self._folded[i] :])
            self._pending.clear()
            self._folded = [0] * len(self._folded)

    def _settle(self, row: Sequence[Any], changes: list[Change]) -> list[Value]:
        raws = row[2:]
        seen = [repair(raw, changes) for repair, raw in zip(self._repairs, raws, strict=True)]
        for i, known in self._known.items():
            if seen[i] == raws[i]:
                if len(known) >= _KNOWN_MAX:
                    known.clear()
                known.add(seen[i])
        values = self._without_outliers(seen, changes)
        for i in self._demanded:
            if values[i] is None:
                raise Rejected("missing", f"field {self.names[i]!r} is missing, and missing = reject")
        settled = self._filled(values, changes)
        self._pending.append(values)
        return settled

    def _without_outliers(self, seen: list[Value], changes: list[Change]) -> list[Value]:
        """The values without outliers; the statistics see them as they came, or a new level would never be learned."""
        values, rejected = list(seen), None
        for i, robust in self._watched:
            value = seen[i]
            if isinstance(value, float) and not robust.low <= value <= robust.high:
                try:
                    values[i] = self._outlier(i, value, robust, changes)
                except Rejected as outcome:
                    rejected = outcome
        self._observe(seen)
        if rejected:
            raise rejected
        return values

    def _observe(self, values: Sequence[Any]) -> None:
        """Take an event's values into the running medians."""
        for i, robust in self.robust.items():
            if values[i] is not None:
                robust.block.append(values[i])
        self._count_down()

    def _count_down(self) -> None:
        self._room -= 1
        if not self._room:
            self._turn()

    def _filled(self, values: Sequence[Value], changes: list[Change]) -> list[Value]:
        """The values, imputed where they are missing."""
        filled = list(values)
        for i in self._imputed:
            if filled[i] is None:
                filled[i] = self._impute(i, changes)
        return filled

    def _outlier(self, i: int, value: float, robust: Robust, changes: list[Change]) -> float | None:
        name, rule = self.names[i], self._features[i].outliers
        if rule is None or rule.then == "keep":
            return value
        if rule.then == "reject":
            raise Rejected("outlier", f"field {name!r}: {shown(value)} is an outlier, "
                           f"beyond {robust.low:g} to {robust.high:g}")  # fmt: skip
        after = None if rule.then == "missing" else robust.low if value < robust.low else robust.high
        changes.append(change(name, f"outlier_{rule.then}", value, after))
        return after

    def _impute(self, i: int, changes: list[Change]) -> Value:
        """What stands in for a missing value, from the events before this one; None if nothing does."""
        policy = self._features[i].missing
        value, rule = self._stand_ins[i], "imputed_constant"
        if policy == "median":
            value, rule = self.robust[i].centre, "imputed_median"
        elif policy in ("mean", "last"):
            self._fold(i)
            profile, rule = self.profiles[i], f"imputed_{policy}"
            if isinstance(profile, NumberProfile):
                value = (profile.mean if policy == "mean" else profile.last) if profile.count else None
            else:
                value = profile.last
        if value is not None:
            changes.append(change(self.names[i], rule, None, value))
        return value

    def _fold(self, i: int) -> None:
        start, pending = self._folded[i], self._pending
        if start < len(pending):
            self.profiles[i].extend([row[i] for row in (pending[start:] if start else pending)])
            self._folded[i] = len(pending)

    def _turn(self) -> None:
        for robust in self.robust.values():
            if len(robust.block) >= robust.size:
                robust.turn()
        self._room = min(r.size - len(r.block) for r in self.robust.values())


def _robust(features: list[Feature]) -> dict[int, Robust]:
    """Median and MAD where a rule needs them, in blocks that the checkpoint has room for."""
    needed = [i for i, f in enumerate(features) if f.type == "number" and (f.outliers or f.missing == "median")]
    size = max(_LEAST_BLOCK, min(_GREATEST_BLOCK, _BUFFERED_VALUES // max(len(needed), 1)))
    return {i: Robust(size, _threshold(features[i])) for i in needed}


def _stand_in(name: str, feature: Feature) -> Value:
    """The constant of a policy, a category as its own rules write it."""
    constant = feature.missing
    return repair_of(name, feature)(constant, []) if feature.type == "category" else constant


def _threshold(feature: Feature) -> float:
    return feature.outliers.threshold if feature.outliers else math.inf
