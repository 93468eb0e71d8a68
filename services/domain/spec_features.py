"""What a pipeline file's features must satisfy: which keys go with which type, and names that do not collide."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.domain.spec_decode import shown
from services.domain.spec_tables import Feature, Problem, Spec, written

MOST_FEATURES = 200
UNDECODABLE = "expected a name without quotes, backslashes and control characters"
NAME_MAX = 96
"""Bytes: every lane's checkpoint holds the names of all features."""
ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""What JSON cannot hold as it is: a field whose name has it cannot be decoded."""
_KEYS = {
    "number": ("range", "outside", "unit", "outliers"),
    "boolean": (),
    "category": ("case", "synonyms", "max_values", "derive"),
}
_STATISTICS = ("mean", "median")
_POLICIES = ("last", "keep", "reject")


def features(spec: Spec) -> Iterator[Problem]:
    """Every problem of ``[features.*]``."""
    if not 1 <= len(spec.features) <= MOST_FEATURES:
        yield Problem(("features",), f"expected 1 to {MOST_FEATURES} features, got {len(spec.features)}")
    owners = {spec.event.id: "event.id", spec.event.time: "event.time"}
    for name, feature in spec.features.items():
        yield from _name(name, owners)
        yield from _keys(name, feature)
        yield from _missing(name, feature)
        yield from _number(name, feature)
        yield from _derived(name, feature)
    owners |= {name: f"features.{name}" for name in spec.features}
    yield from _aliases(spec, owners)


def _name(name: str, owners: dict[str, str]) -> Iterator[Problem]:
    path = ("features", name)
    if not 0 < len(name.encode()) <= NAME_MAX or any(sign in name for sign in "+*="):
        yield Problem(path, f"expected a name of 1 to {NAME_MAX} bytes without + * = (they join names in crosses and "
                      "encodings); keep the raw field's name in aliases")  # fmt: skip
    elif ESCAPED.search(name):
        yield Problem(path, f"{UNDECODABLE}; keep the raw field's name in aliases")
    elif name in owners:
        yield Problem(path, f"expected another field than {owners[name]}: an id or a time is no feature; "
                      'for its hour, weekday or month use derive')  # fmt: skip


def _keys(name: str, feature: Feature) -> Iterator[Problem]:
    for kind, keys in _KEYS.items():
        if kind != feature.type:
            for key in written(feature, keys):
                message = f'goes with type = "{kind}" only; this feature is a {feature.type}'
                yield Problem(("features", name, key), message)


def _missing(name: str, feature: Feature) -> Iterator[Problem]:
    value = feature.missing
    if isinstance(value, str) and value in _POLICIES:
        return
    if feature.type == "number":
        good = value in _STATISTICS or (isinstance(value, float) and not isinstance(value, bool))
        expected = 'one of "mean", "median", "last", "keep", "reject" or a number'
    elif feature.type == "boolean":
        good, expected = isinstance(value, bool), 'one of "last", "keep", "reject" or true or false'
    else:
        good = isinstance(value, str) and value not in _STATISTICS
        expected = 'one of "last", "keep", "reject" or a category of its own, like "unknown"'
    if not good:
        yield Problem(("features", name, "missing"), f"expected {expected}, got {shown(value)}")


def _number(name: str, feature: Feature) -> Iterator[Problem]:
    if feature.type != "number":
        return
    path = ("features", name)
    if feature.range is not None and feature.range[0] >= feature.range[1]:
        yield Problem((*path, "range"), f"expected [least, greatest], got {shown(list(feature.range))}")
    if feature.range is None and written(feature, ("outside",)):
        yield Problem((*path, "outside"), "goes with a range only; say which numbers are possible: range = [0, 100]")
    if feature.unit == 0:
        yield Problem((*path, "unit"), "expected a factor other than 0, like 1.609344 for miles to kilometres")
    if feature.outliers is not None and feature.outliers.threshold <= 0:
        yield Problem((*path, "outliers", "threshold"), "expected a number above 0: how many robust standard "
                      f"deviations from the median, got {shown(feature.outliers.threshold)}")  # fmt: skip


def _derived(name: str, feature: Feature) -> Iterator[Problem]:
    if feature.derive is None or feature.type != "category":
        return
    for key in written(feature, ("aliases", "missing", "case", "synonyms")):
        yield Problem(("features", name, key), "goes with features that are read from the event; "
                      f"this one is the {feature.derive} of its time and always there")  # fmt: skip


def _aliases(spec: Spec, owners: dict[str, str]) -> Iterator[Problem]:
    for name, feature in spec.features.items():
        for index, alias in enumerate(feature.aliases):
            path = ("features", name, "aliases", index)
            if not alias:
                yield Problem(path, "expected the name of a raw field, got an empty one")
            elif alias in owners:
                yield Problem(path, f"expected a name of its own, {shown(alias)} is {owners[alias]} already")
            owners.setdefault(alias, f"an alias of features.{name}")
