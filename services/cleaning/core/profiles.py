"""The running profiles as others may read them: for metrics, warnings and people."""

from __future__ import annotations

import msgspec

from services.cleaning.core.features import Features
from services.cleaning.core.statistics import NumberProfile

_INVARIABLE_AFTER = 1000


class FieldProfile(msgspec.Struct, frozen=True):
    """One field on one lane, after outliers and before imputation, since the lane's beginning.

    ``distinct`` is 0, 1 or 2 (two or more) for numbers, an estimate up to some 1,400 for categories. ``median`` and
    ``mad`` are running ones, where a rule needs them. ``invariable``: 1,000 values, all the same: a model learns
    nothing from it, and a producer's constant may hide a fault.
    """

    count: int
    missing: int
    distinct: int
    invariable: bool
    mean: float | None = None
    variance: float | None = None
    low: float | None = None
    high: float | None = None
    median: float | None = None
    mad: float | None = None


def field_profiles(features: Features) -> dict[str, FieldProfile]:
    """The profile of each field, by name."""
    return {name: _profile(features, i) for i, name in enumerate(features.names)}


def _profile(features: Features, i: int) -> FieldProfile:
    profile = features.profiles[i]
    invariable = profile.count >= _INVARIABLE_AFTER and profile.distinct == 1
    if not isinstance(profile, NumberProfile):
        return FieldProfile(profile.count, profile.missing, profile.distinct, invariable)
    robust = features.robust.get(i)
    return FieldProfile(
        count=profile.count,
        missing=profile.missing,
        distinct=profile.distinct,
        invariable=invariable,
        mean=profile.mean,
        variance=profile.variance,
        low=profile.low if profile.count else None,
        high=profile.high if profile.count else None,
        median=robust.centre if robust else None,
        mad=robust.mad if robust and robust.blocks else None,
    )
