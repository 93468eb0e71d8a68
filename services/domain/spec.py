"""The pipeline file: one TOML file that defines a pipeline, decoded, validated, in canonical form, hashed."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class PipelineTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    task: Literal["binary", "regression"]
    threshold: float = 0.5


class TopicsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    partitions: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    retention: str = "7d"


class EventTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    time: str
    topic: str | None = None
    time_format: Literal["rfc3339", "epoch_s", "epoch_ms"] = "rfc3339"
    timezone: str = "UTC"
    clock: Literal["wall", "replay"] = "wall"
    max_ahead: str = "1d"
    dedupe_ids: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 250_000


class LabelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    value: str
    time: str
    horizon: str
    topic: str | None = None
    on_expiry: Literal["drop"] | bool | float = "drop"
    max_waiting: Positive = 1_000_000


class Outliers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``mad``: |x - median| > threshold * 1.4826 * MAD of the lane's streaming estimates."""

    method: Literal["mad"]
    threshold: float = 8.0
    then: Literal["clip", "missing", "reject", "keep"] = "clip"


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature. Which keys go with which type is checked after decoding."""

    type: Literal["number", "boolean", "category"]
    aliases: tuple[str, ...] = ()
    # number
    range: tuple[float, float] | None = None
    outside: Literal["clip", "missing", "reject", "keep"] = "missing"
    unit: float = 1.0  # multiplied into what arrives
    outliers: Outliers | None = None
    # every type: mean and median for numbers; a constant of the feature's own type; keep leaves it null
    missing: str | float | bool = "keep"
    # category
    case: Literal["upper", "lower", "keep"] = "keep"
    synonyms: dict[str, str] = {}
    max_values: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    derive: Literal["hour", "weekday", "month"] | None = None


class Cross(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    max_values: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: tuple[str, ...]
    half_life: Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=8)]
    as_: Literal["rate", "logit"] = msgspec.field(name="as", default="rate")
    max_values: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of the catalogue with its options, or ``factory = "package.module:function"``."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    model: Literal[
        "logistic_regression", "linear_regression", "hoeffding_adaptive_tree", "adaptive_random_forest"
    ] | None = None
    factory: str | None = None
    optimizer: Literal["sgd", "adagrad"] = "adagrad"
    learning_rate: float = 0.03
    l2: float = 0.0
    models: Positive = 5  # trees of a forest
    seed: int = 1


class ModelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(min_length=1, max_length=16)]


class SnapshotsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    every_examples: Positive = 1000
    every: str = "5s"
    keep: Positive = 200
    live_every: str = "100ms"


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: Positive = 200
    at_least: str = "1m"
    at_most: str = "6h"


class DriftTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    false_alarms_per_day: float = 0.1
    block: Block = Block()


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole pipeline file. ``features`` keeps the file's order: it is the models' column order."""

    pipeline: PipelineTable
    event: EventTable
    label: LabelTable
    features: dict[str, Feature]
    model: ModelTable
    topics: TopicsTable = TopicsTable()
    crosses: tuple[Cross, ...] = ()
    encodings: tuple[Encoding, ...] = ()
    snapshots: SnapshotsTable = SnapshotsTable()
    drift: DriftTable = DriftTable()


class SpecError(ValueError):
    """A pipeline file that cannot be used: file, line or key, what was expected, what to do."""


# The functions below are the module's surface; see the interface notes.
def duration(text: str) -> timedelta:
    """``"100ms"``, ``"5s"``, ``"1m"``, ``"6h"``, ``"7d"`` to a positive timedelta; SpecError otherwise."""
    raise SpecError(text)


def parse(text: str, source: str = "pipeline.toml") -> Spec:
    """Decode and validate TOML text; SpecError names source, line or key, and what was expected."""
    raise SpecError(text + source)


def canonical(spec: Spec) -> str:
    """The canonical JSON form, in full: equal specs give equal text (defaults filled in, keys sorted)."""
    return ""


def from_canonical(text: str) -> Spec:
    """The inverse of :func:`canonical`, validated alike."""
    raise SpecError(text)


def spec_hash(spec: Spec) -> str:
    """First 16 hex digits of the SHA-256 of the canonical form."""
    return ""
