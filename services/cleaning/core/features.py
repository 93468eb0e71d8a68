"""From a row of raw values to clean features: standardise, ranges, outliers, imputation, derived fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from schemas.events import Change, Value
from services.cleaning.core.repair import repair_of
from services.cleaning.core.rules import Rejected, change, shown
from services.cleaning.core.statistics import BooleanProfile, CategoryProfile, NumberProfile, Profile, Robust
from services.domain.records import NUMBER_MAX
from services.domain.spec import Feature, Spec

_BUFFERED_VALUES = 600
_LEAST_BLOCK, _GREATEST_BLOCK = 3, 31
_KNOWN_MAX = 20_000
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DERIVE: dict[str, Callable[[datetime], str]] = {
    "hour": lambda local: f"{local.hour:02d}",
    "weekday": lambda local: _WEEKDAYS[local.weekday()],
    "month": lambda local: f"{local.month:02d}",
}
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
    """The features of one pipeline on one lane: their rules and their statistics.

    Derived fields are texts in the event's time zone: hour ``00``-``23``, weekday ``mon``-``sun``, month ``01``-``12``.
    """

    def __init__(self, spec: Spec) -> None:
        read = {name: feature for name, feature in spec.features.items() if feature.derive is None}
        derived = {name: f.derive for name, f in spec.features.items() if f.derive is not None}
        self.types = {name: strict_type(feature) for name, feature in read.items()}
        self.names = tuple(read)
        self._features = list(read.values())
        self._repairs = [repair_of(name, feature) for name, feature in read.items()]
        self._stand_ins = [_stand_in(name, feature) for name, feature in read.items()]
        self._zone = ZoneInfo(spec.event.timezone)
        self._derived = [_DERIVE[kind] for kind in derived.values()]
        fields = [(f"f{i}", Any, msgspec.field(name=name)) for i, name in enumerate((*read, *derived))]
        self._made = msgspec.defstruct("Features", fields, gc=False)
        """All features by name: made and encoded in a third of the time that a dict takes."""
        kinds = [feature.type for feature in self._features]
        self._known: list[tuple[int, set[Any]]] = [(i, set()) for i, kind in enumerate(kinds) if kind == "category"]
        self._scaled = [(i, f) for i, f in enumerate(self._features) if f.unit != 1.0]
        self.profiles: list[Profile] = [_PROFILES[kind]() for kind in kinds]
        self.robust = _robust(self._features)
        self._needed = [
            i
            for i, feature in enumerate(self._features)
            if feature.missing != "keep" or feature.type == "category" or feature.unit != 1.0 or i in self.robust
        ]
        """Where a hole is more than a hole: a rule or a statistic has to look at it."""
        self._pending: list[Sequence[Value]] = []
        self._folded = [0] * len(kinds)
        self.wire()

    def wire(self) -> None:
        """Look up again what :attr:`robust` holds (call it after replacing any of it)."""
        for robust in self.robust.values():
            robust.bound()
        self._blocks = [(i, robust.block.append) for i, robust in self.robust.items()]
        self._watched = [(i, self.robust[i]) for i, f in enumerate(self._features) if f.outliers is not None]
        self._room = min((r.size - len(r.block) for r in self.robust.values()), default=-1)

    def clean(
        self, row: Sequence[Any], time: datetime, changes: list[Change] | None
    ) -> tuple[msgspec.Struct, list[Change]]:
        """The features of one event by name, and all repairs made to it, ``changes`` (so far) first.

        ``changes`` is None when the row came through the strict decode. Rejected if a rule says so.
        """
        values = self._plain(row) if changes is None else None
        if changes is None:
            changes = []
        if values is None:
            values = self._settle(row, changes)
        if self._derived:
            local = time.astimezone(self._zone)
            values = [*values, *(derive(local) for derive in self._derived)]
        return self._made(*values), changes

    def _plain(self, row: Sequence[Any]) -> Sequence[Any] | None:
        """The values of a strictly decoded row that needs no repair, taken into the statistics; None when it does."""
        if None in row:
            for i in self._needed:
                if row[i] is None:
                    return None
        for i, known in self._known:
            if row[i] not in known:
                return None
        if self._scaled:
            scaled = self._scale(row)
            if scaled is None:
                return None
            row = scaled
        for i, robust in self._watched:
            if not robust.low <= row[i] <= robust.high:
                return None
        for i, append in self._blocks:
            append(row[i])
        self._room -= 1
        if not self._room:
            self._turn()
        self._pending.append(row)
        return row

    def fold(self) -> None:
        """Bring the profiles up to the last event (at the end of each batch)."""
        if self._pending:
            for i in range(len(self.profiles)):
                self._fold(i)
            self._pending.clear()
            self._folded = [0] * len(self._folded)

    def _scale(self, row: Sequence[Any]) -> list[Any] | None:
        values = list(row)
        for i, feature in self._scaled:
            values[i] = value = row[i] * feature.unit
            low, high = feature.range or (-NUMBER_MAX, NUMBER_MAX)
            if not low <= value <= high:
                return None
        return values

    def _settle(self, row: Sequence[Any], changes: list[Change]) -> list[Value]:
        seen = [repair(raw, changes) for repair, raw in zip(self._repairs, row, strict=True)]
        for i, known in self._known:
            if seen[i] == row[i]:
                if len(known) >= _KNOWN_MAX:
                    known.clear()
                known.add(seen[i])
        values = self._without_outliers(seen, changes)
        for i, value in enumerate(values):
            if value is None and self._features[i].missing == "reject":
                raise Rejected("missing", f"field {self.names[i]!r} is missing, and missing = reject")
        settled = [self._impute(i, changes) if value is None else value for i, value in enumerate(values)]
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
        for i, append in self._blocks:
            value = seen[i]
            if isinstance(value, float):
                append(value)
        self._room -= 1
        if not self._room:
            self._turn()
        if rejected:
            raise rejected
        return values

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
        if policy == "keep":
            return None
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
