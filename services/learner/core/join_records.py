"""The join's records: predictions and labels read as cheaply as they can be, examples and outcomes written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from schemas.codec import encode
from schemas.outcomes import Outcome, State
from services.domain.records import MAX_VALUE_BYTES, Incoming, Out
from services.domain.spec_duration import LONGEST
from services.learner.core.ledger import Entry, Label, Lapsed, Waiting

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
EXAMPLE_ADDS_BYTES = 512
"""An example has at most so many bytes more than its prediction."""


class RefusedError(Exception):
    """A record that cannot be used, and the rule it breaks."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Arrival(msgspec.Struct):
    """A prediction as it comes in: all that an example needs is there, but only id and time are decoded."""

    event_id: str
    time: Moment
    score: msgspec.Raw
    model: msgspec.Raw
    challengers: msgspec.Raw
    features: msgspec.Raw
    encoded: msgspec.Raw
    spec: msgspec.Raw


class _Served(msgspec.Struct):
    """A prediction's parts, copied into its example byte for byte."""

    event_id: msgspec.Raw
    time: msgspec.Raw
    score: msgspec.Raw
    model: msgspec.Raw
    challengers: msgspec.Raw
    features: msgspec.Raw
    encoded: msgspec.Raw
    spec: msgspec.Raw


class _Example(msgspec.Struct, tag="example", tag_field="kind"):
    """``schemas.examples.Example``, field by field, with what is copied left as it is."""

    event_id: msgspec.Raw
    time: msgspec.Raw
    label_time: datetime
    features: msgspec.Raw
    encoded: msgspec.Raw
    label: Label
    score: msgspec.Raw
    model: msgspec.Raw
    challengers: msgspec.Raw
    spec: msgspec.Raw
    weight: float = 1.0
    corrects: Label | None = None


class BooleanLabel(msgspec.Struct):
    """A label of a binary task."""

    event_id: str
    time: Moment
    label: bool


class NumberLabel(msgspec.Struct):
    """A label of a regression."""

    event_id: str
    time: Moment
    label: float


class Decision(msgspec.Struct):
    """What a restore reads of an outcome."""

    state: State
    label: Label | None
    prediction_offset: int | None
    label_offset: int | None


class SpilledEntry(msgspec.Struct, array_like=True):
    """A remembered prediction in the state topic."""

    offset: int
    time: datetime
    value: bytes
    label: Label | None


class SpilledLabel(msgspec.Struct, array_like=True):
    """A waiting label in the state topic."""

    offset: int
    time: datetime
    label: Label


class Spilled(msgspec.Struct, array_like=True):
    """One id's record in the state topic, oldest first; ``repeats`` are offsets of predictions that were ignored."""

    entries: list[SpilledEntry]
    labels: list[SpilledLabel]
    repeats: list[int]


class Data(msgspec.Struct):
    """The join's own part of its checkpoint."""

    greatest: list[datetime]
    moved_by: int
    positions: tuple[int, int]
    spilled_to: tuple[int, int]
    outcomes_low: int
    forgotten: Lapsed | None


LabelRecord = BooleanLabel | NumberLabel
LabelDecoder = msgspec.json.Decoder[BooleanLabel] | msgspec.json.Decoder[NumberLabel]
_ARRIVAL = msgspec.json.Decoder(Arrival)
_SERVED = msgspec.json.Decoder(_Served)
_MALFORMED = (UnicodeError, RecursionError)
_LATEST = datetime.max.replace(tzinfo=UTC) - LONGEST


def label_decoder(task: Literal["binary", "regression"]) -> LabelDecoder:
    """Decodes labels of this task and refuses those of another."""
    return msgspec.json.Decoder(BooleanLabel) if task == "binary" else msgspec.json.Decoder(NumberLabel)


def read_prediction(record: Incoming) -> Arrival:
    """Decode a prediction as far as its arrival needs; RefusedError names the rule it breaks."""
    key, value = _content(record)
    if len(key) + len(value) + EXAMPLE_ADDS_BYTES > MAX_VALUE_BYTES:
        raise RefusedError("output_too_large", f"{len(value):,} bytes leave no room for the example made of it")
    try:
        arrival = _ARRIVAL.decode(value)
        if arrival.event_id.encode() != key:
            raise RefusedError("wrong_key", "the key is not the event_id")
    except msgspec.ValidationError as error:
        raise RefusedError("invalid", str(error)) from error
    except (msgspec.DecodeError, *_MALFORMED) as error:
        raise RefusedError("malformed", str(error)) from error
    _require_room(arrival.time)
    return arrival


def read_label(decoder: LabelDecoder, record: Incoming) -> LabelRecord:
    """Decode a label; RefusedError names the rule it breaks."""
    key, value = _content(record)
    try:
        label = decoder.decode(value)
        if label.event_id.encode() != key:
            raise RefusedError("wrong_key", "the key is not the event_id")
    except msgspec.ValidationError as error:
        raise RefusedError("invalid", str(error)) from error
    except (msgspec.DecodeError, *_MALFORMED) as error:
        raise RefusedError("malformed", str(error)) from error
    _require_room(label.time)
    return label


def _content(record: Incoming) -> tuple[bytes, bytes]:
    if record.key is None or record.value is None:
        raise RefusedError("empty", "a record without a key or without a value")
    return record.key, record.value


def _require_room(time: datetime) -> None:
    """RefusedError for a time to which no horizon can be added, whatever the pipeline file will say one day."""
    if time > _LATEST:
        raise RefusedError("time_range", f"{time.isoformat()} plus the longest label horizon is beyond the year 9999")


def example(
    entry: Entry, value: bytes, label: Label, label_time: datetime, *, corrects: Label | None, timestamp: int
) -> Out:
    """The example that a remembered prediction, of this value, and its label make."""
    served = _SERVED.decode(value)
    made = encode(
        _Example(
            served.event_id,
            served.time,
            label_time,
            served.features,
            served.encoded,
            label,
            served.score,
            served.model,
            served.challengers,
            served.spec,
            1.0,
            corrects,
        )
    )
    return Out(entry.key, made, timestamp)


def outcome(
    key: bytes,
    state: State,
    label: Label | None,
    time: datetime,
    *,
    delay: timedelta | None,
    offsets: tuple[int | None, int | None],
    timestamp: int,
) -> Out:
    """One line of the ledger; ``offsets`` are those of the prediction and of the label."""
    delay_s = None if delay is None else delay.total_seconds()
    return Out(key, encode(Outcome(key.decode(), state, label, time, delay_s, *offsets)), timestamp)


def spilled_entry(entry: Entry, value: bytes) -> SpilledEntry:
    """The form that the state topic keeps."""
    return SpilledEntry(entry.offset, entry.time, value, entry.label)


def spilled_label(label: Waiting) -> SpilledLabel:
    """The form that the state topic keeps."""
    return SpilledLabel(label.offset, label.time, label.label)
