"""The plan: what a served state needs to know of the pipeline file to turn an event's features into numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from schemas.events import Value
from services.domain.spec import Spec

Features = Mapping[str, Value]
Encoded = Mapping[str, list[float]]
Key = Callable[[Features], str]

SEPARATOR = "\x1f"
"""Joins the values of a combination into one key (ASCII unit separator): cleaning leaves it in no category."""
OTHER = "\x1eother"
"""The key that all values beyond ``max_values`` share: no values make it, for cleaning leaves no record separator."""


class Field(msgspec.Struct, frozen=True):
    """A sparse field: a boolean, a category or a cross of several; one weight a value, at most ``max_values``."""

    name: str
    by: tuple[str, ...]
    max_values: int


class EncodingPlan(msgspec.Struct, frozen=True):
    """One target encoding: named by its fields joined with ``+`` (``*`` for none), a number a half-life."""

    name: str
    by: tuple[str, ...]
    half_lives: tuple[float, ...]
    logit: bool
    max_values: int


class Plan(msgspec.Struct, frozen=True):
    """Everything needed to compute a model's input. An absent feature is missing, an unknown one is ignored."""

    task: Literal["binary", "regression"]
    numbers: tuple[str, ...]
    fields: tuple[Field, ...]
    encodings: tuple[EncodingPlan, ...]
    categories: tuple[str, ...]
    """Names of the category features: their values are strings, so that keys of them need no conversion."""


def plan_of(spec: Spec) -> Plan:
    """The plan that a pipeline file asks for, columns in the file's order."""
    of_type: dict[str, list[str]] = {"number": [], "boolean": [], "category": []}
    for name, feature in spec.features.items():
        of_type[feature.type].append(name)
    return Plan(
        task=spec.pipeline.task,
        numbers=tuple(of_type["number"]),
        fields=(
            *(Field(name, (name,), 3) for name in of_type["boolean"]),
            *(Field(name, (name,), spec.features[name].max_values) for name in of_type["category"]),
            *(Field("*".join(cross.by), cross.by, cross.max_values) for cross in spec.crosses),
        ),
        encodings=tuple(
            EncodingPlan(
                name=encoding_name(encoding.by),
                by=encoding.by,
                half_lives=encoding.half_life,
                logit=encoding.as_ == "logit" and spec.pipeline.task == "binary",
                max_values=encoding.max_values,
            )
            for encoding in spec.encodings
        ),
        categories=tuple(of_type["category"]),
    )


def encoding_name(by: tuple[str, ...]) -> str:
    """``("origin", "hour")`` is ``origin+hour``; the overall encoding, by nothing, is ``*``."""
    return "+".join(by) or "*"


def text(value: Value) -> str:
    """A value as a part of a key: missing is empty, booleans are ``true`` and ``false``."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value))


def key_of(by: tuple[str, ...], categories: tuple[str, ...]) -> Key:
    """A function from features to the key of a combination: its values joined, a missing one empty."""
    if not set(by) <= set(categories) or len(by) not in (1, 2):
        return lambda features: SEPARATOR.join([text(features.get(name)) for name in by])
    if len(by) == 1:
        only = by[0]
        return lambda features: value if (value := features.get(only)).__class__ is str else text(value)
    first, second = by
    return lambda features: f"{features.get(first) or ''}{SEPARATOR}{features.get(second) or ''}"
