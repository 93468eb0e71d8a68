"""A pipeline without Kafka: the same cores, wired in one process.

It is the backtest's engine and the reference of the live path: each prediction is made by the state that has learned
exactly the labels fed before. Linear candidates and encodings are served as they are; others at the snapshots' cadence,
as they would be live. Two ways in, with the same predictions: :meth:`Offline.feed` takes one record, :meth:`Offline.run`
many, which it cleans in batches (nothing that is learned changes what cleaning does) and hands on one by one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from schemas.codec import encode
from schemas.examples import Control
from schemas.topics import topic_name
from services.cleaning.core.clean import Clean, Inputs
from services.domain import murmur, snapshot
from services.domain.catalogue import is_linear
from services.domain.records import Core, Header, Out, Output
from services.domain.served import Part, Served
from services.domain.spec import Spec, canonical, duration, spec_hash
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from services.learner.core.fold import Fold
from services.learner.core.join import Join
from services.learner.core.train import Train
from services.learner.training import rehearse
from services.scoring.core import Score

LOG_ID = "00000000-0000-7000-8000-000000000000"
Kind = Literal["event", "label"]
_BATCH = 1000
_HUGE_BYTES = 256 * 1024
_NO_HEADERS: list[Header] = []
_MILLISECOND = timedelta(milliseconds=1)


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record of the replica's logs (:class:`services.domain.records.Incoming`)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Header] = _NO_HEADERS


class Raw(msgspec.Struct, frozen=True, gc=False):
    """A record as a producer would send it; ``timestamp`` (ms) is when it comes in, and does not decrease."""

    kind: Kind
    timestamp: int
    key: bytes | None
    value: bytes | None


Observer = Callable[[str, Record], None]
"""Told of every record that a stage writes: the stream's short name, and the record."""


class Offline:
    """Every lane of every stage. ``observe`` sees all outputs, those of the drift stages up to a batch later."""

    def __init__(self, spec: Spec, partitions: int | None = None, *, observe: Observer | None = None) -> None:
        name, n = spec.pipeline.name, partitions or spec.topics.partitions
        if n != spec.topics.partitions:
            spec = msgspec.structs.replace(spec, topics=msgspec.structs.replace(spec.topics, partitions=n))
        self.spec = spec
        self._name, self._n, self._observe = name, n, observe
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._topics: dict[str, str] = {}
        topics = Inputs(
            events=spec.event.topic or topic_name(name, "events.raw"),
            labels=spec.label.topic or topic_name(name, "labels.raw"),
            rekeyed=topic_name(name, "rekeyed"),
        )
        self._raw: dict[Kind, str] = {"event": topics.events, "label": topics.labels}
        predictions, labels = topic_name(name, "predictions"), topic_name(name, "labels.clean")
        binary, threshold = spec.pipeline.task == "binary", spec.pipeline.threshold
        self.cleans = [Clean(spec, lane, n, topics) for lane in range(n)]
        self.scores = [Score(lane, n, binary=binary, threshold=threshold) for lane in range(n)]
        self.joins = [Join(spec, lane, n, predictions, labels, store={}) for lane in range(n)]
        self.train = Train()
        self.summarisers = [Summarise(spec, lane, n, predictions, topic_name(name, "examples")) for lane in range(n)]
        self.detect = Detect(spec)
        self._frozen: dict[str, Part] = {}
        self._handlers: dict[str, Callable[[Record], None]] = {
            "rekeyed": self._clean,
            "events.clean": self._score,
            "labels.clean": self._join,
            "predictions": self._predicted,
            "examples": self._learn,
            "summaries": self._judge,
        }
        self._now = 0
        self._stale = False
        self._watched: list[list[Record]] = [[] for _ in range(n)]
        self._watching = 0
        self._longest_ms = duration(spec.topics.retention) // _MILLISECOND // 4
        self._ids = {kind: _id_reader(field) for kind, field in (("event", spec.event.id), ("label", spec.label.id))}
        control = Control(LOG_ID, spec_hash(spec), canonical(spec))
        rehearse(control)
        self._emit("examples", 0, Out(b"control", encode(control), 0))
        self._publish()
        self._serve()

    @property
    def fold(self) -> Fold:
        """The model's state now."""
        return self.train.fold

    def feed(self, kind: Kind, key: bytes | None, value: bytes | None, timestamp: int) -> None:
        """One raw record, placed as Kafka's own partitioner would (without a key: partition 0), through all stages."""
        self._now = timestamp
        partition = murmur.partition(key, self._n) if key is not None else 0
        self._clean(self._received(Raw(kind, timestamp, key, value), partition))

    def run(self, records: Iterable[Raw]) -> Iterator[int]:
        """Raw records in order, as if each were fed; yields after every batch how many records it had."""
        for batch in self._batches(records):
            if isinstance(batch, Raw):
                self.feed(batch.kind, batch.key, batch.value, batch.timestamp)
                yield 1
            else:
                self._run(batch)
                yield len(batch)

    def close(self) -> None:
        """Let the drift stages see the last records."""
        self._watch()

    def totals(self) -> dict[str, dict[str, int]]:
        """Totals by stage, summed over lanes."""
        stages: dict[str, Sequence[Core]] = {
            "clean": self.cleans,
            "score": self.scores,
            "join": self.joins,
            "train": [self.train],
            "summarise": self.summarisers,
            "detect": [self.detect],
        }
        self.close()
        summed: dict[str, dict[str, int]] = {}
        for stage, lanes in stages.items():
            total: dict[str, int] = defaultdict(int)
            for lane in lanes:
                for what, count in lane.totals.items():
                    total[what] += count
            summed[stage] = dict(total)
        return summed

    def _received(self, raw: Raw, partition: int) -> Record:
        topic = self._raw[raw.kind]
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] = offset + 1
        return Record(topic, partition, offset, raw.timestamp, raw.key, raw.value)

    def _batches(self, records: Iterable[Raw]) -> Iterator[list[Raw] | Raw]:
        """Cut where a record is to be fed alone: its key is not its id, so it may go to another lane first."""
        batch: list[Raw] = []
        for raw in records:
            if raw.key is None or self._ids[raw.kind](raw.value) != raw.key:
                if batch:
                    yield batch
                yield raw
                batch = []
                continue
            if len(batch) == _BATCH or (batch and raw.timestamp - batch[0].timestamp > self._longest_ms):
                yield batch
                batch = []
            batch.append(raw)
        if batch:
            yield batch

    def _run(self, batch: list[Raw]) -> None:
        """Clean a batch lane by lane, then hand on what came of each record, in the records' order."""
        places = murmur.partitions([raw.key or b"" for raw in batch], self._n)
        records = [self._received(raw, place) for raw, place in zip(batch, places, strict=True)]
        lanes: list[list[Record]] = [[] for _ in range(self._n)]
        for record in records:
            lanes[record.partition].append(record)
        cleaned = [
            _Cleaned(clean.process(lane, batch[-1].timestamp), number, self._raw["label"])
            for number, (clean, lane) in enumerate(zip(self.cleans, lanes, strict=True))
        ]
        for record in records:
            self._now = record.timestamp
            told = cleaned[record.partition].of(record)
            if told is not None:
                self._emit(*told)

    def _route(self, output: Output) -> None:
        for (stream, partition), outs in output.sends.items():
            for out in outs:
                self._emit(stream, partition, out)

    def _emit(self, stream: str, partition: int, out: Out) -> None:
        handle, observe = self._handlers.get(stream), self._observe
        place = (stream, partition)
        offset = self._offsets[place]
        self._offsets[place] = offset + 1
        if handle is None and observe is None:
            return
        topic = self._topics.get(stream) or self._topics.setdefault(stream, topic_name(self._name, stream))
        record = Record(topic, partition, offset, out.timestamp, out.key, out.value, out.headers)
        if observe is not None:
            observe(stream, record)
        if handle is not None:
            handle(record)

    def _clean(self, record: Record) -> None:
        self._route(self.cleans[record.partition].process((record,), self._now))

    def _score(self, record: Record) -> None:
        if self._stale:
            self._serve()
        self._route(self.scores[record.partition].process((record,), self._now))

    def _predicted(self, record: Record) -> None:
        self._watch(record, record.partition)
        self._join(record)

    def _join(self, record: Record) -> None:
        """What is fed is all there is: whatever has passed its deadline expires at once."""
        join = self.joins[record.partition]
        self._route(join.process((record,), self._now))
        while (mark := join.expirable()) is not None:
            self._route(join.expire(mark))

    def _learn(self, record: Record) -> None:
        self._watch(record, 0)
        self._route(self.train.process((record,), self._now))
        self._stale = True
        if self.train.versions and self.train.versions_due(self._now):
            self._publish()
        if (withdrawal := self.fold.withdrawal()) is not None:
            self._route(self.train.change(withdrawal, self._now))

    def _watch(self, record: Record | None = None, lane: int = 0) -> None:
        """Keep a record for the drift stages, or hand them what is kept: nothing waits for what they find."""
        if record is not None:
            self._watched[lane].append(record)
            self._watching += 1
            if self._watching < _BATCH:
                return
        watched, self._watched, self._watching = self._watched, [[] for _ in range(self._n)], 0
        for summarise, records in zip(self.summarisers, watched, strict=True):
            if records:
                self._route(summarise.process(records, self._now))

    def _judge(self, record: Record) -> None:
        self._route(self.detect.process((record,), self._now))

    def _publish(self) -> None:
        """The next version of every candidate; those that are not served live are frozen as of now.

        None if one cannot be written down: the log withdraws it first.
        """
        names = list(self.fold.learners)
        slow = [name for name in names if not is_linear(self.fold.learners[name].candidate)]
        snapshots = self.fold.snapshots() if slow else []
        if self.fold.withdrawal() is not None:
            return
        number = max(self.train.versions.values(), default=0)
        versions = {name: number + index for index, name in enumerate(names, 1)}
        self.train.published(versions, self.fold.examples, self._now)
        key = b"backtest"
        for taken in snapshots:
            if taken.candidate in slow:
                opened = snapshot.read(taken.blob, snapshot.sign(taken.blob, key), (key,))
                self._frozen[taken.candidate] = opened.part(versions[taken.candidate])

    def _serve(self) -> None:
        self._stale = False
        parts = self.fold.parts(self.train.versions)
        served = parts | self._frozen
        champion, *challengers = (served[candidate.name] for candidate in self.spec.model.candidates)
        newest = next(iter(parts.values()), champion)
        state = Served(champion, challengers, newest.encodings, newest.ref.examples_offset)
        for score in self.scores:
            score.serve(state)


class _Cleaned:
    """What cleaning made of a batch of one lane's records, each of which has its id for a key."""

    def __init__(self, output: Output, lane: int, labels: str) -> None:
        self._labels = labels
        self._lane = lane
        self._outs = {stream: deque(outs) for (stream, _), outs in output.sends.items()}

    def of(self, record: Record) -> tuple[str, int, Out] | None:
        """Take what came of the next record; None for an event whose id passed before."""
        dead = self._outs.get("deadletter")
        if dead and dead[0].value is record.value:
            return "deadletter", self._lane, dead.popleft()
        stream = "labels.clean" if record.topic == self._labels else "events.clean"
        outs = self._outs.get(stream)
        return (stream, self._lane, outs.popleft()) if outs and outs[0].key == record.key else None


def _id_reader(field: str) -> Callable[[bytes | None], bytes | None]:
    """Reads the id of a raw record as a key, if that is easily done (a dead letter of a huge one is cut)."""
    kind = msgspec.defstruct("Identified", [("id", str | int, msgspec.field(name=field))])
    decode = msgspec.json.Decoder(kind).decode

    def read(value: bytes | None) -> bytes | None:
        if not value or len(value) > _HUGE_BYTES:
            return None
        try:
            return str(decode(value).id).encode()  # type: ignore[attr-defined]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None

    return read
