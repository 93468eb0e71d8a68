"""The tables of a pipeline file as Structs: names, types, defaults. :mod:`services.domain.spec` reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

import msgspec

from services.domain.registry_api import MAX_KEEP

MAX_PARTITIONS = 256
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]
Values = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class PipelineTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, task and decision threshold: ``[pipeline]``."""

    name: Name
    task: Literal["binary", "regression"]
    threshold: float = 0.5


class TopicsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Partitions (fixed for the life of the name) and retention of raw and clean records: ``[topics]``."""

    partitions: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTITIONS)] = 4
    retention: str = "7d"


class EventTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which raw fields are id and time of an event, and how its time is read: ``[event]``."""

    id: str
    time: str
    topic: str | None = None
    time_format: Literal["rfc3339", "epoch_s", "epoch_ms"] = "rfc3339"
    timezone: str = "UTC"
    clock: Literal["wall", "replay"] = "wall"
    max_ahead: str = "1d"
    dedupe_ids: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 250_000


class LabelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which raw fields are id, value and time of a label, and how long it is waited for: ``[label]``."""

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
    max_values: Values = 10_000
    derive: Literal["hour", "weekday", "month"] | None = None


class Cross(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A category made of several: ``[[crosses]]``; it is named by its fields joined with ``*``."""

    by: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    max_values: Values = 10_000


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exponentially weighted mean of the label per value of ``by``; half-lives in labels: ``[[encodings]]``."""

    by: tuple[str, ...]
    half_life: Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=8)]
    as_: Literal["rate", "logit"] = msgspec.field(name="as", default="rate")
    max_values: Values = 10_000


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of the catalogue with its options, or ``factory = "package.module:function"``."""

    name: Name
    model: (
        Literal["logistic_regression", "linear_regression", "hoeffding_adaptive_tree", "adaptive_random_forest"] | None
    ) = None
    factory: str | None = None
    optimizer: Literal["sgd", "adagrad"] = "adagrad"
    learning_rate: float = 0.03
    l2: float = 0.0
    models: Annotated[int, msgspec.Meta(ge=1, le=256)] = 5  # trees of a forest: a snapshot has at most 64 MiB
    seed: int = 1


class ModelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The candidates, the first of which is champion to begin with: ``[[model.candidates]]``."""

    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(min_length=1, max_length=16)]


class SnapshotsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often versions and live parameters are published, how many versions are kept: ``[snapshots]``."""

    every_examples: Positive = 1000
    every: str = "5s"
    keep: Annotated[int, msgspec.Meta(ge=1, le=MAX_KEEP)] = 200
    live_every: str = "100ms"


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The drift detectors' unit: so many events, but no shorter and no longer than these: ``[drift] block``."""

    events: Positive = 200
    at_least: str = "1m"
    at_most: str = "6h"


class DriftTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often drift may be reported in error, per day of event time: ``[drift]``."""

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
    """A pipeline file that cannot be used: file, line, key, what was expected. One line a problem."""


class Problem(NamedTuple):
    """One thing that is wrong, at a path of keys and indexes."""

    path: tuple[str | int, ...]
    message: str


def written(table: msgspec.Struct, keys: Iterable[str]) -> list[str]:
    """Those of the keys that differ from their defaults."""
    defaults = {field.name: field for field in msgspec.structs.fields(type(table))}
    return [key for key in keys if getattr(table, key) != _default(defaults[key])]


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
