"""What the topics hold, reduced to what the checks look at. Only the contracts (``schemas``) are shared with services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from chaos import reader, script
from schemas import deadletter
from schemas.alerts import Alert
from schemas.codec import type_decoder
from schemas.events import CleanEvent
from schemas.examples import Example, Record
from schemas.labels import CleanLabel
from schemas.models import AliasRecord
from schemas.outcomes import Outcome
from schemas.predictions import Prediction
from schemas.state import Checkpoint
from schemas.topics import topics

_EVENT, _LABEL, _PREDICTION = type_decoder(CleanEvent), type_decoder(CleanLabel), type_decoder(Prediction)
_OUTCOME, _EXAMPLE, _ALERT = type_decoder(Outcome), type_decoder(Record), type_decoder(Alert)
_ALIAS, _CHECKPOINT = type_decoder(AliasRecord), type_decoder(Checkpoint)


class _RawEvent(msgspec.Struct):
    id: str | int


class _RawLabel(msgspec.Struct):
    id: str | int
    known_at: datetime
    late: bool


class Item(msgspec.Struct, frozen=True, gc=False):
    """A record of an id at its place. ``time`` is a label's own, or a prediction's event time; ``label`` a label's value.

    ``refused`` is the rule by which cleaning must refuse a raw record; empty for one that it must not refuse. Of labels
    and predictions ``stamp`` is Kafka's (ms): when the raw record came in. ``served`` stands for all that a prediction
    holds beside its id.
    """

    partition: int
    offset: int
    id: str
    time: datetime | None = None
    refused: str = ""
    label: bool | float | None = None
    stamp: int = 0
    served: int = 0


class Dead(msgspec.Struct, frozen=True, gc=False):
    """A dead letter: which stage refused which record (``topic`` in full) by which rule."""

    stage: str
    topic: str
    partition: int
    offset: int
    rule: str


class Told(msgspec.Struct, frozen=True, gc=False):
    """An outcome, and the partition it lies on: that of its prediction and its label."""

    partition: int
    offset: int
    outcome: Outcome


class Learned(msgspec.Struct, frozen=True, gc=False):
    """An example; ``served`` stands for what it holds of its prediction, as :class:`Item` has it."""

    offset: int
    id: str
    label_time: datetime
    label: bool | float
    corrects: bool | float | None
    served: int = 0


class Facts(msgspec.Struct):
    """Everything read, each list in the order of partitions and offsets.

    Raw records whose id cannot be read have the id ``""``. ``examples_end`` is the offset after the last example or
    control record; ``checkpoints`` are the newest by lane; ``aliases`` the newest records of ``models``.
    """

    raw_events: list[Item] = []
    raw_labels: list[Item] = []
    dead: list[Dead] = []
    events: list[Item] = []
    labels: list[Item] = []
    predictions: list[Item] = []
    outcomes: list[Told] = []
    examples: list[Learned] = []
    examples_end: int = 0
    alerts: list[Alert] = []
    aliases: dict[str, AliasRecord] = {}
    checkpoints: dict[tuple[str, int], Checkpoint] = {}


async def gather(facts: Facts, broker: str, pipeline: str, partitions: int) -> None:
    """Read every topic once into ``facts``; the pipeline should be at rest. HiddenError as :func:`chaos.reader.read`."""
    for topic in topics(pipeline, partitions, 0, 0):
        stream = "state" if topic.stream.startswith("state.") else topic.stream
        if stream in TAKE:
            async for record in reader.read(broker, topic.name, topic.partitions):
                TAKE[stream](facts, record)


def _raw(kind: type[_RawEvent | _RawLabel], record: Any, refused: str) -> Item:
    try:
        found = msgspec.json.decode(record.value or b"", type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Item(record.partition, record.offset, "", None, refused)
    time, label = getattr(found, "known_at", None), getattr(found, "late", None)
    return Item(record.partition, record.offset, str(found.id), time, refused, label)


def _raw_event(facts: Facts, record: Any) -> None:
    as_event, _ = script.POISON.get(record.value, ("", ""))
    facts.raw_events.append(_raw(_RawEvent, record, as_event))


def _raw_label(facts: Facts, record: Any) -> None:
    _, as_label = script.POISON.get(record.value, ("", ""))
    facts.raw_labels.append(_raw(_RawLabel, record, as_label))


def _event(facts: Facts, record: Any) -> None:
    facts.events.append(Item(record.partition, record.offset, _EVENT.decode(record.value).event_id))


def _label(facts: Facts, record: Any) -> None:
    it = _LABEL.decode(record.value)
    facts.labels.append(
        Item(record.partition, record.offset, it.event_id, it.time, label=it.label, stamp=record.timestamp)
    )


def _prediction(facts: Facts, record: Any) -> None:
    made = _PREDICTION.decode(record.value)
    facts.predictions.append(
        Item(
            record.partition,
            record.offset,
            made.event_id,
            made.time,
            stamp=record.timestamp,
            served=_served(made),
        )
    )


def _outcome(facts: Facts, record: Any) -> None:
    facts.outcomes.append(Told(record.partition, record.offset, _OUTCOME.decode(record.value)))


def _example(facts: Facts, record: Any) -> None:
    facts.examples_end = record.offset + 1
    it = _EXAMPLE.decode(record.value)
    if isinstance(it, Example):
        facts.examples.append(Learned(record.offset, it.event_id, it.label_time, it.label, it.corrects, _served(it)))


def _served(it: Prediction | Example) -> int:
    return hash(msgspec.json.encode((it.time, it.score, it.model, it.challengers, it.features, it.encoded, it.spec)))


def _alert(facts: Facts, record: Any) -> None:
    facts.alerts.append(_ALERT.decode(record.value))


def _alias(facts: Facts, record: Any) -> None:
    alias = _ALIAS.decode(record.value)
    if alias.alias not in facts.aliases or facts.aliases[alias.alias].revision <= alias.revision:
        facts.aliases[alias.alias] = alias


def _dead(facts: Facts, record: Any) -> None:
    told = {name: content.decode() for name, content in record.headers if name in _HEADERS}
    facts.dead.append(
        Dead(
            told[deadletter.STAGE],
            told[deadletter.TOPIC],
            int(told[deadletter.PARTITION]),
            int(told[deadletter.OFFSET]),
            told[deadletter.RULE],
        )
    )


def _state(facts: Facts, record: Any) -> None:
    if record.key.count(b"/") == 1:  # stage/lane; records of single ids have longer keys
        found = _CHECKPOINT.decode(record.value)
        facts.checkpoints[found.stage, found.lane] = found


_HEADERS = {deadletter.STAGE, deadletter.TOPIC, deadletter.PARTITION, deadletter.OFFSET, deadletter.RULE}
TAKE: dict[str, Callable[[Facts, Any], None]] = {
    "events.raw": _raw_event, "labels.raw": _raw_label, "deadletter": _dead, "events.clean": _event,
    "labels.clean": _label, "predictions": _prediction, "outcomes": _outcome, "examples": _example, "alerts": _alert,
    "models": _alias, "state": _state,
}  # fmt: skip
"""By stream, short: what takes a record of it into the facts."""
