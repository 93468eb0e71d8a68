"""The join: predictions meet their labels, whichever comes first, and every label and every expiry is accounted for.

All that is decided follows from the order in which the records of both inputs are read (merged by Kafka timestamp)
and from the watermark, so neither the ends of batches nor restarts show in the ledger.

- A label is **in time** if its own time is at most event time + horizon, however late it is read. One that is not in
  time for a remembered prediction is an orphan at once.
- A prediction whose deadline the watermark has passed is remembered until the lane has read the labels up to the high
  watermark asked for afterwards: :meth:`Join.expirable`, then :meth:`Join.expire`. If it is **pending**, it expires
  then; if it is **closed** (labelled, and open to corrections), it is forgotten.
- A label whose prediction is not remembered waits, and becomes an orphan when the watermark passes its time + horizon.
  That needs no look at the log: a prediction that would still answer it lies after those that moved the watermark.
- Waiting labels of one id: an equal one is a duplicate, another one supersedes those that came before. One with an
  earlier time than its successor waits along with it, because only it may be in time; it is told as superseded when
  the prediction comes, its own time + horizon is passed, or ``MOST_OF_ONE_ID`` wait and it is the first of them.
- A second prediction of a remembered id is ignored and counted (``repeats``); after the first one's deadline it counts
  as a prediction of its own, and a label answers the oldest one that it is in time for.
- A prediction so large that its example would not fit is a dead letter ``output_too_large`` when it is read; its label
  becomes an orphan, so the account still balances.

Every output carries the Kafka timestamp of the record that completed it: the label, the prediction that a label had
waited for, or the prediction that moved the watermark.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.codec import encode, from_ms, to_ms
from schemas.outcomes import State
from schemas.topics import topic_name
from services.domain.deadletters import dead_letter
from services.domain.records import Incoming, Out, Output, Standing
from services.domain.spec import Spec, duration
from services.learner.core import join_records as records
from services.learner.core.ledger import Entry, Label, Lapsed, Ledger, Waiting
from services.learner.core.values import MOST_IN_MEMORY, Store, Values

SPILL_AFTER = 200_000
MOST_OF_ONE_ID = 100
"""Labels of one id that wait: its record in the state topic stays small, whatever a producer sends under one id."""
_COUNTS = (
    "predictions", "repeats", "labels", "labelled", "corrected", "duplicate", "superseded", "orphan",
    "expired", "expired_default", "pending", "waiting",
)  # fmt: skip


class Join:
    """The core of stage ``join`` for one lane.

    A lane that ran before is restored with :func:`services.learner.core.join_restore.restore`.
    After every commit the lane sets ``outcomes_position`` to an offset after which its next outcomes will lie (one
    that is too low only makes a restore read more). What is remembered of records older than ``keep_ms``, or more than
    ``spill_after`` records back, lies in the state topic: their own logs may lose them. Of what is remembered the newest
    ``most_in_memory`` predictions lie in memory and the others in ``store``. ``totals`` balance at any time::

        predictions = labelled + expired + pending + repeats + deadletter.predictions.*
        labels = labelled + corrected + duplicate + superseded + orphan + waiting + deadletter.labels.*

    ``expired_default`` counts those of ``expired`` that became an example with the default label.
    """

    def __init__(
        self,
        spec: Spec,
        lane: int,
        partitions: int,
        predictions_topic: str,
        labels_topic: str,
        *,
        store: Store,
        spill_after: int = SPILL_AFTER,
        keep_ms: int | None = None,
        most_in_memory: int = MOST_IN_MEMORY,
    ) -> None:
        self.totals = dict.fromkeys(_COUNTS, 0)
        self.outcomes_position = 0
        self._horizon = duration(spec.label.horizon)
        self.ledger = Ledger(self._horizon, spill_after, keep_ms, Values(store, most_in_memory))
        self.label_decoder = records.label_decoder(spec.pipeline.task)
        self._lane = lane
        self._deadletter_partition = lane % partitions
        self.predictions_topic = predictions_topic
        self.labels_topic = labels_topic
        self._outcomes_topic = topic_name(spec.pipeline.name, "outcomes")
        self._wall = spec.event.clock == "wall"
        self._default = None if spec.label.on_expiry == "drop" else spec.label.on_expiry
        self._max_waiting = spec.label.max_waiting
        self._timestamp = 0
        self._now = 0
        self._open()

    def process(self, batch: Sequence[Incoming], now: int) -> Output:
        """Match a batch in its order; ``now`` decides what moves to the state topic, and nothing else."""
        self._open()
        self._now = now
        ledger, topic = self.ledger, self.predictions_topic
        if batch:
            for backlog in (ledger.predictions, ledger.labels):
                backlog.begin(backlog.position, self.outcomes_position, batch[0].timestamp)
        for record in batch:
            read = self._prediction if record.topic == topic else self._label
            try:
                read(record)
            except records.RefusedError as error:
                self._refuse(record, error)
        if batch:
            self._timestamp = batch[-1].timestamp
        return self._close()

    def rest(self, now: int) -> Output:
        """What time alone leads to while no records come: what has become too old moves to the state topic."""
        self._open()
        self._now = now
        return self._close()

    def expirable(self) -> Lapsed | None:
        """What to pass to :meth:`expire` once the labels are read up to a high watermark asked for from now on.

        None when no deadline has passed of what is remembered.
        """
        return self.ledger.lapsed_by_now()

    def expire(self, upto: Lapsed, limit: int = 10_000) -> Output:
        """Expire what is still pending of this, at most ``limit`` of it (the rest stays expirable); forget the others."""
        self._open()
        for entry in self.ledger.take(upto, limit):
            self._expire(entry)
        return self._close()

    def blocked(self) -> bool:
        """Whether as many labels wait as may: labels are not to be read until the watermark has made orphans of some."""
        return self.ledger.waiting_count >= self._max_waiting

    def standing(self) -> Standing:
        """What the checkpoint holds; low-water offsets by full topic name."""
        ledger = self.ledger
        mark = ledger.watermark
        outcomes_low = self._outcomes_low()
        data = records.Data(
            mark.greatest,
            mark.moved_by,
            (ledger.predictions.position, ledger.labels.position),
            (ledger.predictions.spilled_to, ledger.labels.spilled_to),
            outcomes_low,
            ledger.forgotten,
        )
        low = {
            self.predictions_topic: ledger.predictions.low(),
            self.labels_topic: ledger.labels.low(),
            self._outcomes_topic: outcomes_low,
        }
        return Standing(encode(data), low, mark.at)

    def _outcomes_low(self) -> int:
        lows = (self.ledger.predictions.outcomes_low(), self.ledger.labels.outcomes_low())
        return min((low for low in lows if low is not None), default=self.outcomes_position)

    def _open(self) -> None:
        self._output = Output()
        self._outcomes: list[Out] = []
        self._examples: list[Out] = []

    def _close(self) -> Output:
        ledger, sends = self.ledger, self._output.sends
        if self._outcomes:
            sends["outcomes", self._lane] = self._outcomes
        if self._examples:
            sends["examples", 0] = self._examples
        ledger.spill(self.outcomes_position, self._now)
        if ledger.touched:
            sends["state.learner", self._lane] = [self._state(key) for key in ledger.touched]
            ledger.touched = {}
        ledger.values.settle()
        self.totals["pending"] = ledger.pending
        self.totals["waiting"] = ledger.waiting_count
        return self._output

    def _state(self, key: bytes) -> Out:
        """The id's record in the state topic; a tombstone when nothing of it is kept there."""
        ledger = self.ledger
        entries, entry = [], ledger.entries.get(key)
        while entry is not None:
            if entry.offset < ledger.predictions.spilled_to:
                entries.append(records.spilled_entry(entry, entry.value or ledger.values.read(entry)))
            entry = entry.older
        line = ledger.labels.spilled_to
        labels = [records.spilled_label(label) for label in ledger.waiting.get(key, ()) if label.offset < line]
        repeats = ledger.repeats.get(key, [])
        kept = entries or labels or repeats
        value = msgspec.msgpack.encode(records.Spilled(entries[::-1], labels, repeats)) if kept else None
        timestamp = max(self._timestamp, ledger.watermark.moved_by)
        return Out(b"join/%d/%s" % (self._lane, key), value, timestamp)

    def _refuse(self, record: Incoming, error: records.RefusedError) -> None:
        stream = "predictions" if record.topic == self.predictions_topic else "labels"
        count = f"deadletter.{stream}.{error.rule}"
        self.totals[count] = self.totals.get(count, 0) + 1
        letter = dead_letter(record, "join", error.rule, str(error), error)
        self._output.to("deadletter", self._deadletter_partition).append(letter)

    def _prediction(self, record: Incoming) -> None:
        ledger, offset = self.ledger, record.offset
        ledger.predictions.position = offset + 1
        self.totals["predictions"] += 1
        arrival = records.read_prediction(record)
        key = record.key or b""
        time = arrival.time
        known = ledger.entries.get(key)
        if known is not None and not ledger.passed(known.time):
            self.totals["repeats"] += 1
            ledger.repeat(key, offset)
            return
        entry = Entry(time, offset, key, record.value, None, known)
        ledger.remember(entry)
        if key in ledger.waiting:
            self._meet(entry, ledger.waiting[key], record.timestamp)
        if self._wall and to_ms(time) >= record.timestamp:
            time = from_ms(max(record.timestamp, 0))
        ledger.watermark.see(time, record.timestamp)
        ledger.lapse()
        for label in ledger.overdue():
            self._orphan(label)

    def _label(self, record: Incoming) -> None:
        ledger, offset = self.ledger, record.offset
        ledger.labels.position = offset + 1
        self.totals["labels"] += 1
        label = records.read_label(self.label_decoder, record)
        key, time = record.key or b"", label.time
        entry = ledger.entries.get(key)
        if entry is None:
            self._wait(Waiting(time, offset, key, label.label), record.timestamp)
            return
        older = entry.older
        while older is not None:
            if time - older.time <= self._horizon:
                entry = older
            older = older.older
        self._apply(entry, label.label, time, offset, record.timestamp)

    def _meet(self, entry: Entry, chain: list[Waiting], timestamp: int) -> None:
        """The prediction has come that these labels waited for: the last one in time is its label."""
        in_time = sum(label.time - entry.time <= self._horizon for label in chain)
        for place, label in enumerate(tuple(chain), start=1):
            self.ledger.answer(label)
            if place < in_time:
                self._tell(key=entry.key, state="superseded", label=label, timestamp=timestamp, entry=entry)
            else:
                self._apply(entry, label.label, label.time, label.offset, timestamp)

    def _apply(self, entry: Entry, label: Label, time: datetime, offset: int, timestamp: int) -> None:
        """A label meets its prediction."""
        old, delay = entry.label, time - entry.time
        state: State
        if delay > self._horizon:
            state = "orphan"
        elif old is None:
            state = "labelled"
        else:
            state = "duplicate" if old == label else "corrected"
        self.totals[state] += 1
        self._outcomes.append(
            records.outcome(
                entry.key, state, label, time, delay=delay, offsets=(entry.offset, offset), timestamp=timestamp
            )
        )
        if state in {"labelled", "corrected"}:
            value = entry.value or self.ledger.values.read(entry)
            self._examples.append(records.example(entry, value, label, time, corrects=old, timestamp=timestamp))
            self.ledger.close(entry, label)

    def _wait(self, label: Waiting, timestamp: int) -> None:
        """A label without a known prediction: it waits, unless it is too old or one like it waits already."""
        ledger = self.ledger
        if ledger.passed(label.time):
            self._tell(key=label.key, state="orphan", label=label, timestamp=timestamp)
            return
        chain = ledger.waiting.get(label.key)
        while chain:
            last = chain[-1]
            if last.label == label.label and last.time <= label.time:
                self._tell(key=label.key, state="duplicate", label=label, timestamp=timestamp)
                return
            if last.time < label.time:
                break
            ledger.answer(last)
            same = last.label == label.label
            self._tell(key=label.key, state="duplicate" if same else "superseded", label=last, timestamp=timestamp)
            chain = ledger.waiting.get(label.key)
        if chain and len(chain) >= MOST_OF_ONE_ID:
            oldest = chain[0]
            ledger.answer(oldest)
            self._tell(key=label.key, state="superseded", label=oldest, timestamp=timestamp)
        ledger.wait(label)

    def _orphan(self, label: Waiting) -> None:
        """The watermark has passed the time in which its prediction could come."""
        last = self.ledger.waiting[label.key][-1]
        self.ledger.answer(label)
        state: State = "orphan" if last is label else "superseded"
        self._tell(key=label.key, state=state, label=label, timestamp=self.ledger.watermark.moved_by)

    def _tell(self, *, key: bytes, state: State, label: Waiting, timestamp: int, entry: Entry | None = None) -> None:
        """The end of a label that waited, or that came for nothing."""
        self.totals[state] += 1
        delay = None if entry is None else label.time - entry.time
        offsets = (None if entry is None else entry.offset, label.offset)
        self._outcomes.append(
            records.outcome(key, state, label.label, label.time, delay=delay, offsets=offsets, timestamp=timestamp)
        )

    def _expire(self, entry: Entry) -> None:
        timestamp, default = self.ledger.watermark.moved_by, self._default
        deadline = entry.time + self._horizon
        self.totals["expired"] += 1
        offsets = (entry.offset, None)
        self._outcomes.append(
            records.outcome(entry.key, "expired", default, deadline, delay=None, offsets=offsets, timestamp=timestamp)
        )
        if default is not None:
            self.totals["expired_default"] += 1
            value = entry.value or self.ledger.values.read(entry)
            self._examples.append(records.example(entry, value, default, deadline, corrects=None, timestamp=timestamp))
        self.ledger.forget(entry)
