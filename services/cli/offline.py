"""A pipeline without Kafka: the same cores, wired in one process, fed one record at a time.

It is the backtest's engine and the reference of the live path: each prediction is made by the state that has learned
exactly the labels fed before. Linear candidates and encodings are served as they are; others at the snapshots' cadence,
as they would be live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from schemas.codec import encode
from schemas.examples import Control
from schemas.topics import topic_name
from services.cleaning.core.clean import Clean, Inputs
from services.domain import snapshot
from services.domain.catalogue import is_linear
from services.domain.murmur import murmur2
from services.domain.records import Core, Header, Out, Output
from services.domain.served import Part, Served
from services.domain.spec import Spec, canonical, spec_hash
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from services.learner.core.fold import Fold
from services.learner.core.join import Join
from services.learner.core.train import Train
from services.scoring.core import Score

LOG_ID = "00000000-0000-7000-8000-000000000000"
Kind = Literal["event", "label"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record of the replica's logs (:class:`services.domain.records.Incoming`)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Header] = []


Observer = Callable[[str, Record], None]
"""Told of every record that a stage writes: the stream's short name, and the record."""


class Offline:
    """Every lane of every stage. ``drift`` false leaves the drift stages out; ``observe`` sees all outputs."""

    def __init__(
        self, spec: Spec, partitions: int | None = None, *, drift: bool = True, observe: Observer | None = None
    ) -> None:
        name, n = spec.pipeline.name, partitions or spec.topics.partitions
        if n != spec.topics.partitions:
            spec = msgspec.structs.replace(spec, topics=msgspec.structs.replace(spec.topics, partitions=n))
        self.spec = spec
        self._name, self._n, self._observe = name, n, observe
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
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
        self.joins = [Join(spec, lane, n, predictions, labels) for lane in range(n)]
        self.train = Train()
        self.summarisers = [
            Summarise(spec, lane, n, predictions, topic_name(name, "examples")) for lane in range(n if drift else 0)
        ]
        self.detect = Detect(spec) if drift else None
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
        control = Control(LOG_ID, spec_hash(spec), canonical(spec))
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
        partition = (murmur2(key) & 0x7FFFFFFF) % self._n if key is not None else 0
        topic = self._raw[kind]
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] = offset + 1
        self._clean(Record(topic, partition, offset, timestamp, key, value))

    def totals(self) -> dict[str, dict[str, int]]:
        """Totals by stage, summed over lanes."""
        stages: dict[str, Sequence[Core]] = {
            "clean": self.cleans,
            "score": self.scores,
            "join": self.joins,
            "train": [self.train],
        }
        summed: dict[str, dict[str, int]] = {}
        for stage, lanes in stages.items():
            total: dict[str, int] = defaultdict(int)
            for lane in lanes:
                for what, count in lane.totals.items():
                    total[what] += count
            summed[stage] = dict(total)
        return summed

    def _route(self, output: Output) -> None:
        for (stream, partition), outs in output.sends.items():
            for out in outs:
                self._emit(stream, partition, out)

    def _emit(self, stream: str, partition: int, out: Out) -> None:
        handle, observe = self._handlers.get(stream), self._observe
        offset = self._offsets[stream, partition]
        self._offsets[stream, partition] = offset + 1
        if handle is None and observe is None:
            return
        topic = topic_name(self._name, stream)
        record = Record(topic, partition, offset, out.timestamp, out.key, out.value, out.headers)
        if observe is not None:
            observe(stream, record)
        if handle is not None:
            handle(record)

    def _clean(self, record: Record) -> None:
        self._route(self.cleans[record.partition].process((record,), self._now))

    def _score(self, record: Record) -> None:
        self._route(self.scores[record.partition].process((record,), self._now))

    def _predicted(self, record: Record) -> None:
        if self.detect is not None:
            self._route(self.summarisers[record.partition].process((record,), self._now))
        self._join(record)

    def _join(self, record: Record) -> None:
        """What is fed is all there is: whatever has passed its deadline expires at once."""
        join = self.joins[record.partition]
        self._route(join.process((record,), self._now))
        while (mark := join.expirable()) is not None:
            self._route(join.expire(mark))

    def _learn(self, record: Record) -> None:
        if self.detect is not None:
            self._route(self.summarisers[0].process((record,), self._now))
        self._route(self.train.process((record,), self._now))
        if self.train.versions:
            if self.train.versions_due(self._now):
                self._publish()
            self._serve()

    def _judge(self, record: Record) -> None:
        if self.detect is not None:
            self._route(self.detect.process((record,), self._now))

    def _publish(self) -> None:
        """The next version of every candidate; those that are not served live are frozen as of now."""
        number = max(self.train.versions.values(), default=0)
        names = list(self.fold.learners)
        versions = {name: number + index for index, name in enumerate(names, 1)}
        self.train.published(versions, self.fold.examples, self._now)
        slow = [name for name in names if not is_linear(self.fold.learners[name].candidate)]
        if slow:
            key = b"backtest"
            for taken in self.fold.snapshots():
                if taken.candidate in slow:
                    opened = snapshot.read(taken.blob, snapshot.sign(taken.blob, key), (key,))
                    self._frozen[taken.candidate] = opened.part(versions[taken.candidate])

    def _serve(self) -> None:
        parts = self.fold.parts(self.train.versions) | self._frozen
        champion, *challengers = (parts[candidate.name] for candidate in self.spec.model.candidates)
        newest = next(iter(parts.values()))
        live = [part for name, part in parts.items() if name not in self._frozen] or [newest]
        served = Served(champion, challengers, live[0].encodings, live[0].ref.examples_offset)
        for score in self.scores:
            score.serve(served)
