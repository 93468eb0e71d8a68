"""The core of cleaning: raw events and labels of one lane to clean ones, re-keyed ones and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from schemas.codec import encode
from schemas.events import Change
from schemas.labels import CleanLabel
from schemas.topics import MAX_MESSAGE_BYTES
from services.cleaning.core import checkpoint
from services.cleaning.core.decode import Reader
from services.cleaning.core.dedupe import RecentIds
from services.cleaning.core.features import Features
from services.cleaning.core.ids import ID_MAX_BYTES, id_text, key_of
from services.cleaning.core.labels import label_value
from services.cleaning.core.profiles import FieldProfile, field_profiles
from services.cleaning.core.rules import Rejected
from services.cleaning.core.times import Clock, TimeReader
from services.domain.deadletters import Origin, dead_letter, legible, origin, rekeyed_headers
from services.domain.murmur import partitions
from services.domain.records import MAX_VALUE_BYTES, Incoming, Out, Output, Standing
from services.domain.spec import Spec, duration, spec_hash

STAGE = "clean"
_ATTACHED_MAX_BYTES = 32 * 1024
_MILLISECOND = timedelta(milliseconds=1)
_COUNTED = ("events_in", "labels_in", "rekeyed_in", "events", "labels", "duplicates", "rekeyed_events",
            "rekeyed_labels")  # fmt: skip


class Inputs(msgspec.Struct, frozen=True):
    """Full names of the topics that a lane reads."""

    events: str
    labels: str
    rekeyed: str


class _CleanEvent(msgspec.Struct, gc=False):
    """A record of ``events.clean`` (:class:`schemas.events.CleanEvent`)."""

    event_id: str
    time: datetime
    features: msgspec.Struct
    changes: list[Change]
    spec: str


class _Read(msgspec.Struct):
    """One record, decoded as far as its id. ``changes`` is None when the strict decode passed it."""

    record: Incoming
    stamp: int
    is_label: bool
    came: Origin | None
    id: str = ""
    key: bytes = b""
    row: Sequence[Any] = ()
    changes: list[Change] | None = None
    rejected: Rejected | None = None


class Clean:
    """One lane of the stage ``clean`` (:class:`services.domain.records.Core`).

    Every record ends in exactly one place: ``events.clean`` or ``labels.clean``, ``rekeyed`` (its id belongs to
    another lane), ``deadletter``, or nowhere when the id passed before (``duplicates``). A lane at or above
    ``partitions`` only re-keys. ``deadletter_bytes`` is the largest original that ``deadletter`` takes. Outputs and state depend on the records and their order alone, not on where batches
    end; ``now`` only replaces the timestamps of foreign topics that lie ahead or are older than half the retention.
    """

    def __init__(
        self, spec: Spec, lane: int, partitions: int, topics: Inputs, deadletter_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        self._deadletter_bytes = deadletter_bytes
        self.totals: dict[str, int] = dict.fromkeys(_COUNTED, 0)
        self._lane, self._partitions, self._topics = lane, partitions, topics
        self._spec, self._hash = spec, spec_hash(spec)
        self._raw = {
            topics.events: ("events_in", False, spec.event.topic is not None),
            topics.labels: ("labels_in", True, spec.label.topic is not None),
        }
        self._oldest = duration(spec.topics.retention) // 2 // _MILLISECOND
        self._times = TimeReader(spec.event)
        self._clock = Clock(spec.event.clock, duration(spec.event.max_ahead), duration(spec.label.horizon))
        self._features = Features(spec)
        aliases = {alias: name for name, feature in spec.features.items() for alias in feature.aliases}
        known = {spec.event.id: str | int, spec.event.time: self._times.type}
        self._events = Reader(known | self._features.types, aliases)
        value = bool if spec.pipeline.task == "binary" else float
        self._labels = Reader(
            {spec.label.id: str | int, spec.label.time: self._times.type, spec.label.value: value}, {}
        )
        self._recent = RecentIds(spec.event.dedupe_ids)
        self._repairs: dict[tuple[str, str], int] = {}

    def process(self, batch: Sequence[Incoming], now: int) -> Output:
        """Clean the records in their order; see :class:`services.domain.records.Core`."""
        out, totals, lane = Output(), self.totals, self._lane
        reads = [self._read(record, now) for record in batch]
        places = iter(partitions([read.key for read in reads if read.rejected is None], self._partitions))
        events: list[Out] = []
        labels: list[Out] = []
        for read in reads:
            rejected = read.rejected
            if rejected is None:
                target = next(places)
                if target != lane and read.came is None:
                    self._rekey(read, target, out)
                    continue
                rejected = self._label(read, labels) if read.is_label else self._event(read, events)
            if rejected is not None:
                self._bury(read, rejected, out)
        self._features.fold()
        if reads:
            self._recent.mark(reads[-1].stamp)
        for stream, sent in (("events", events), ("labels", labels)):
            if sent:
                out.sends[f"{stream}.clean", lane] = sent
                totals[stream] += len(sent)
        return out

    def standing(self) -> Standing:
        """Statistics and recent event times; the recent ids are the keys of the lane's own ``events.clean``."""
        return Standing(checkpoint.save(self._features, list(self._clock.received), self._events.unknown))

    def restore(self, data: bytes | None, totals: dict[str, int], keys: Iterable[bytes]) -> None:
        """Go on from a checkpoint. ``keys`` are those of the lane's ``events.clean``, oldest first, the last
        ``dedupe_ids`` of them at least.
        """
        self.totals = dict.fromkeys(_COUNTED, 0) | totals
        if data is not None:
            saved = checkpoint.load(data, self._features)
            self._clock.received.extend(saved.received)
            self._events.restore(saved.unknown)
        self._recent.restore(keys)

    def profiles(self) -> dict[str, FieldProfile]:
        """What is known of each field that is read from events, on this lane."""
        return field_profiles(self._features)

    def take_repairs(self) -> dict[tuple[str, str], int]:
        """How often each (field, rule) changed something since the last call; fields are those of the pipeline file."""
        repairs, self._repairs = self._repairs, {}
        return repairs

    @property
    def unknown_fields(self) -> dict[str, int]:
        """How often fields came with events that the pipeline file does not name (32 names, then ``__other__``)."""
        return self._events.unknown

    @property
    def dedupe_span(self) -> int:
        """Over how many milliseconds of arrival the remembered ids reach back (since the last restore)."""
        return self._recent.span

    def _read(self, record: Incoming, now: int) -> _Read:
        raw = self._raw.get(record.topic)
        if raw is None:
            read = self._returned(record)
        else:
            counted, is_label, foreign = raw
            self.totals[counted] += 1
            stamp = record.timestamp
            if stamp < 0 or (foreign and not now - self._oldest <= stamp <= now):
                stamp = now
            read = _Read(record, stamp, is_label, None)
        if read.rejected is None:
            self._decode(read)
        return read

    def _returned(self, record: Incoming) -> _Read:
        """A record that another lane has re-keyed."""
        self.totals["rekeyed_in"] += 1
        came = origin(record)
        read = _Read(record, record.timestamp, came is not None and came.topic == self._topics.labels, came)
        if came is None:
            read.rejected = Rejected("rekeyed_invalid", "only cleaning writes to the rekeyed topic, with a header "
                                     "that says where the record came from; send it to the raw topic")  # fmt: skip
        return read

    def _decode(self, read: _Read) -> None:
        reader = self._labels if read.is_label else self._events
        record = read.record
        value = record.value
        try:
            if record.headers or (record.key and len(record.key) > ID_MAX_BYTES):
                _check_attached(record)
            row = reader.strict(value) if value and len(value) <= MAX_VALUE_BYTES else None
            if row is None:
                read.changes = []
                row = reader.lenient(value, read.changes)
            name = row[0]
            if name.__class__ is not str:
                name = id_text(name, self._spec.label.id if read.is_label else self._spec.event.id)
            read.row, read.id, read.key = row, name, key_of(name)
        except Rejected as rejected:
            read.rejected = rejected
        except Exception as error:  # noqa: BLE001 - no record may stop a lane
            read.rejected = _unexpected(error)

    def _event(self, read: _Read, sent: list[Out]) -> Rejected | None:
        try:
            row, key = read.row, read.key
            time = self._times.read(row[1], self._spec.event.time, read.changes)
            self._clock.check_event(time, read.stamp)
            if key in self._recent.ids:
                self.totals["duplicates"] += 1
                return None
            features, changes = self._features.clean(row, time, read.changes)
            value = encode(_CleanEvent(read.id, time, features, changes, self._hash))
            self._emit(read, value, changes, sent)
            self._recent.add(key)
        except Rejected as rejected:
            return rejected
        except Exception as error:  # noqa: BLE001 - no record may stop a lane
            return _unexpected(error)
        return None

    def _label(self, read: _Read, sent: list[Out]) -> Rejected | None:
        try:
            label, changes = self._spec.label, read.changes
            time = self._times.read(read.row[1], label.time, changes)
            changes = [] if changes is None else changes
            value = label_value(self._spec.pipeline.task, label.value, read.row[2], changes)
            self._clock.check_label(time, read.stamp)
            self._emit(read, encode(CleanLabel(read.id, time, value)), changes, sent)
        except Rejected as rejected:
            return rejected
        except Exception as error:  # noqa: BLE001 - no record may stop a lane
            return _unexpected(error)
        return None

    def _emit(self, read: _Read, value: bytes, changes: list[Change], sent: list[Out]) -> None:
        key = read.key
        if len(value) + len(key) > MAX_VALUE_BYTES:
            raise Rejected(
                "output_too_large", f"the cleaned record has {len(value)} bytes, more than {MAX_VALUE_BYTES}"
            )
        sent.append(Out(key, value, read.stamp))
        for change in changes:
            name = f"repaired.{change.rule}"
            self.totals[name] = self.totals.get(name, 0) + 1
            repair = (change.field, change.rule)
            self._repairs[repair] = self._repairs.get(repair, 0) + 1

    def _rekey(self, read: _Read, target: int, out: Output) -> None:
        self.totals["rekeyed_labels" if read.is_label else "rekeyed_events"] += 1
        record = read.record
        out.to("rekeyed", target).append(Out(read.key, record.value, read.stamp, rekeyed_headers(record)))

    def _bury(self, read: _Read, rejected: Rejected, out: Output) -> None:
        name = f"deadletter.{'labels' if read.is_label else 'events'}.{rejected.rule}"
        self.totals[name] = self.totals.get(name, 0) + 1
        letter = dead_letter(
            read.record,
            STAGE,
            rejected.rule,
            rejected.message,
            rejected.error,
            came=read.came,
            timestamp=read.stamp,
            most=self._deadletter_bytes,
        )
        out.to("deadletter", self._lane % self._partitions).append(letter)


def _check_attached(record: Incoming) -> None:
    size = len(record.key or b"") + sum(len(name) * 4 + len(content or b"") for name, content in record.headers)
    if size > _ATTACHED_MAX_BYTES:
        raise Rejected("too_large", f"key and headers have {size} bytes, at most {_ATTACHED_MAX_BYTES} are carried")
    for name, _ in record.headers:
        if name != legible(name):
            raise Rejected("headers_invalid", f"a header's name is not UTF-8: {legible(name)}")


def _unexpected(error: Exception) -> Rejected:
    return Rejected("unexpected", f"{type(error).__name__}: {error}", error)
