"""Restoring a join: what is remembered is its inputs minus its own outcomes; what was decided is read, not re-decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from services.domain.records import Incoming
from services.learner.core import join_records as records
from services.learner.core.join import Join
from services.learner.core.ledger import Entry, Label, Waiting

_DATA = msgspec.json.Decoder(records.Data)
_DECISION = msgspec.json.Decoder(records.Decision)
_SPILLED = msgspec.msgpack.Decoder(records.Spilled)


class LedgerError(ValueError):
    """The logs do not hold what the checkpoint says that the join remembers."""


class Restoring:
    """A restore in steps, so that long logs can be fed in chunks: first ``spilled`` and ``outcomes``, then
    ``predictions``, then ``labels``, at last ``finish``. The join must be new. What is too much for the memory goes to
    its store chunk by chunk.
    """

    def __init__(self, join: Join, data: bytes, totals: Mapping[str, int]) -> None:
        self._join = join
        self._ledger = ledger = join.ledger
        self._data = _DATA.decode(data)
        self._labels: dict[int, Label] = {}
        self._expired: set[int] = set()
        self._answered: set[int] = set()
        self._repeats: set[int] = set()
        join.totals.update(totals)
        join.outcomes_position = self._data.outcomes_low
        ledger.watermark.greatest = self._data.greatest
        ledger.watermark.moved_by = self._data.moved_by
        if len(self._data.greatest) == ledger.watermark.DEPTH:
            ledger.watermark.at = self._data.greatest[0]
        ledger.forgotten = self._data.forgotten
        ledger.predictions.position, ledger.labels.position = self._data.positions
        for backlog in (ledger.predictions, ledger.labels):
            backlog.begin(0, self._data.outcomes_low, 0)
        ledger.predictions.spilled_to, ledger.labels.spilled_to = self._data.spilled_to

    def spilled(self, batch: Iterable[Incoming]) -> None:
        """Newest records of the lane's keys in the state topic (tombstones are passed over)."""
        for record in batch:
            if record.key is None or record.value is None:
                continue
            key = record.key.split(b"/", 2)[2]
            kept = _SPILLED.decode(record.value)
            for entry in kept.entries:
                self._remember(Entry(entry.time, entry.offset, key, entry.value, entry.label))
            for label in kept.labels:
                self._ledger.wait(Waiting(label.time, label.offset, key, label.label))
            for offset in kept.repeats:
                self._repeats.add(offset)
                self._ledger.repeat(key, offset)
        self._ledger.values.settle()

    def outcomes(self, batch: Iterable[Incoming]) -> None:
        """The lane's own outcomes, in order."""
        for record in batch:
            decision = _DECISION.decode(record.value or b"")
            prediction = decision.prediction_offset
            if decision.label_offset is not None:
                self._answered.add(decision.label_offset)
            if prediction is not None and decision.state == "expired":
                self._expired.add(prediction)
            elif prediction is not None and decision.label is not None and decision.state in {"labelled", "corrected"}:
                self._labels[prediction] = decision.label

    def predictions(self, batch: Iterable[Incoming]) -> None:
        """Predictions from their low water to the checkpoint's position."""
        forgotten = self._data.forgotten
        for record in batch:
            offset = record.offset
            if offset in self._expired or offset in self._repeats or offset < self._data.spilled_to[0]:
                continue
            try:
                time = records.read_prediction(record).time
            except records.RefusedError:
                continue  # it was a dead letter
            if forgotten is None or not forgotten.holds(offset, time):
                self._ledger.predictions.begin(offset, self._data.outcomes_low, record.timestamp)
                self._remember(Entry(time, offset, record.key or b"", record.value, self._labels.get(offset)))
        self._ledger.values.settle()

    def labels(self, batch: Iterable[Incoming]) -> None:
        """Labels from their low water to the checkpoint's position."""
        for record in batch:
            offset = record.offset
            if offset in self._answered or offset < self._data.spilled_to[1]:
                continue
            try:
                label = records.read_label(self._join.label_decoder, record)
            except records.RefusedError:
                continue  # it was a dead letter
            self._ledger.labels.begin(offset, self._data.outcomes_low, record.timestamp)
            self._ledger.wait(Waiting(label.time, offset, record.key or b"", label.label))

    def finish(self) -> None:
        """Set aside what had lapsed, and compare with the checkpoint's account; LedgerError if they differ."""
        ledger = self._ledger
        ledger.settle()
        found = {"pending": ledger.pending, "waiting": ledger.waiting_count}
        told = {name: self._join.totals[name] for name in found}
        if found != told:
            raise LedgerError(
                f"the checkpoint counts {told}, but predictions, labels.clean and outcomes read back give {found}: "
                "records were deleted before the join had done with them, or a topic was recreated. Nothing brings them "
                "back: start anew with `rivermill reset`, and keep these topics longer (retention.ms) than any outage"
            )

    def _remember(self, entry: Entry) -> None:
        entry.older = self._ledger.entries.get(entry.key)
        self._ledger.remember(entry)


def restore(
    join: Join,
    data: bytes,
    totals: Mapping[str, int],
    *,
    predictions: Iterable[Incoming],
    labels: Iterable[Incoming],
    outcomes: Iterable[Incoming],
    spilled: Iterable[Incoming] = (),
) -> None:
    """Make a new join what the checkpoint (its ``data`` and ``totals``) stood for.

    ``predictions`` and ``labels`` are the records from their low water to the checkpoint's inputs, ``outcomes`` those
    from their low water to the end, ``spilled`` the newest records under ``join/<lane>/`` in the state topic.
    """
    restoring = Restoring(join, data, totals)
    restoring.spilled(spilled)
    restoring.outcomes(outcomes)
    restoring.predictions(predictions)
    restoring.labels(labels)
    restoring.finish()
