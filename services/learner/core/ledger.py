"""The label ledger's state: predictions remembered, labels that wait, the watermark, and what must be read back."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

import msgspec

from services.learner.core.backlog import Backlog
from services.learner.core.values import Values

Label = bool | float


class Entry(msgspec.Struct, order=True, gc=False):
    """A prediction that is remembered: pending while ``label`` is None, else closed; ``value`` is None once it is gone.

    A value that is empty lies elsewhere, where :class:`Values` reads it.
    ``time`` is the event's: the order is that of deadlines. ``older`` is an earlier prediction of the same id, whose
    deadline has passed, but whose labels may still lie unread in the log.
    """

    time: datetime
    offset: int
    key: bytes
    value: bytes | None
    label: Label | None = None
    older: Entry | None = None

    @property
    def gone(self) -> bool:
        """Whether it is answered for good and forgotten."""
        return self.value is None


class Waiting(msgspec.Struct, order=True, gc=False):
    """A label whose prediction is not known; an orphan once the watermark has passed its time + horizon."""

    time: datetime
    offset: int
    key: bytes
    label: Label
    gone: bool = False


class Lapsed(msgspec.Struct, frozen=True, array_like=True):
    """The predictions whose deadline had passed at one moment: read below ``position``, of a time before ``before``."""

    position: int
    before: datetime

    def holds(self, offset: int, time: datetime) -> bool:
        """Whether this prediction is one of them."""
        return offset < self.position and time < self.before


class Watermark:
    """The third-greatest event time seen: one or two wild ones move nothing."""

    DEPTH = 3

    def __init__(self) -> None:
        self.greatest: list[datetime] = []
        self.at: datetime | None = None
        self.moved_by = 0
        """Kafka timestamp of the prediction that moved it last."""

    def see(self, time: datetime, timestamp: int) -> None:
        """Count one more event time."""
        greatest = self.greatest
        if len(greatest) == self.DEPTH:
            if time <= greatest[0]:
                return
            greatest[0] = time
        else:
            greatest.append(time)
        greatest.sort()
        if len(greatest) == self.DEPTH and greatest[0] != self.at:
            self.at = greatest[0]
            self.moved_by = timestamp


class Ledger:
    """Everything the join remembers of one lane, with the cost of a change O(log n)."""

    def __init__(self, horizon: timedelta, spill_after: int, keep_ms: int | None, values: Values) -> None:
        self.horizon = horizon
        self.watermark = Watermark()
        self.entries: dict[bytes, Entry] = {}
        self.values = values
        self.waiting: dict[bytes, list[Waiting]] = {}
        """By id, oldest first; times strictly increase and neighbours differ in value."""
        self.predictions: Backlog[Entry] = Backlog(spill_after, keep_ms)
        self.labels: Backlog[Waiting] = Backlog(spill_after, keep_ms)
        self.forgotten: Lapsed | None = None
        """What is neither pending nor remembered as closed any more."""
        self.lapsed: deque[Entry] = deque()
        """Past their deadline, in the order in which the watermark passed it."""
        self.closed: list[Entry] = []
        """Taken from ``lapsed``, to be forgotten with the last of those that lapsed with them."""
        self.repeats: dict[bytes, list[int]] = {}
        """Offsets of predictions that were ignored: no outcome tells of them."""
        self.touched: dict[bytes, None] = {}
        """Ids whose record in the state topic is stale."""
        self.pending = 0
        self.waiting_count = 0
        self._deadlines: list[Entry] = []
        self._dues: list[Waiting] = []
        self._repeat_order: deque[tuple[int, bytes]] = deque()

    def passed(self, time: datetime) -> bool:
        """Whether the watermark has passed this time + horizon."""
        at = self.watermark.at
        return at is not None and at > time + self.horizon

    def remember(self, entry: Entry) -> None:
        """Take up a prediction; ``entry.older`` is set by the caller."""
        self.entries[entry.key] = entry
        self.values.recent.append(entry)
        heappush(self._deadlines, entry)
        if entry.offset >= self.predictions.spilled_to:
            self.predictions.items.append(entry)
        if entry.label is None:
            self.pending += 1

    def close(self, entry: Entry, label: Label) -> None:
        """A pending prediction has its label, or a closed one another."""
        if entry.label is None:
            self.pending -= 1
        entry.label = label
        if entry.offset < self.predictions.spilled_to:
            self.touched[entry.key] = None

    def forget(self, entry: Entry) -> None:
        """Nothing will be asked of this prediction any more."""
        if entry.label is None:
            self.pending -= 1
        if entry.offset < self.predictions.spilled_to:
            self.touched[entry.key] = None
        if not entry.value:
            self.values.remove(entry)
        entry.value = None
        newest = self.entries[entry.key]
        if newest is not entry:
            while newest.older is not entry and newest.older is not None:
                newest = newest.older
            newest.older = entry.older
        elif entry.older is not None:
            self.entries[entry.key] = entry.older
        else:
            del self.entries[entry.key]

    def lapse(self) -> None:
        """Set aside what the watermark has passed."""
        deadlines = self._deadlines
        while deadlines and self.passed(deadlines[0].time):
            self.lapsed.append(heappop(deadlines))

    def lapsed_by_now(self) -> Lapsed | None:
        """What has lapsed and is still remembered; None when that is nothing."""
        at = self.watermark.at
        return Lapsed(self.predictions.position, at - self.horizon) if self.lapsed and at is not None else None

    def take(self, upto: Lapsed, limit: int) -> list[Entry]:
        """Take at most ``limit`` pending predictions out of those; after the last of them the closed ones are forgotten."""
        lapsed = self.lapsed
        pending: list[Entry] = []
        while lapsed and upto.holds(lapsed[0].offset, lapsed[0].time):
            if len(pending) == limit:
                return pending
            entry = lapsed.popleft()
            (pending if entry.label is None else self.closed).append(entry)
        for entry in self.closed:
            self.forget(entry)
        self.closed, self.forgotten = [], upto
        return pending

    def repeat(self, key: bytes, offset: int) -> None:
        """Note a prediction that was ignored, for as long as it may be read back."""
        self.repeats.setdefault(key, []).append(offset)
        self._repeat_order.append((offset, key))
        self.touched[key] = None

    def wait(self, label: Waiting) -> None:
        """Take up a label whose prediction is not known."""
        self.waiting.setdefault(label.key, []).append(label)
        heappush(self._dues, label)
        if label.offset >= self.labels.spilled_to:
            self.labels.items.append(label)
        self.waiting_count += 1
        if label.offset < self.labels.spilled_to:
            self.touched[label.key] = None

    def answer(self, label: Waiting) -> None:
        """A waiting label waits no longer."""
        label.gone = True
        self.waiting_count -= 1
        if label.offset < self.labels.spilled_to:
            self.touched[label.key] = None
        chain = self.waiting[label.key]
        if len(chain) == 1:
            del self.waiting[label.key]
        else:
            chain.pop(next(place for place, other in enumerate(chain) if other is label))
        if len(self._dues) > 2 * self.waiting_count + 1000:
            self._dues = [due for due in self._dues if not due.gone]
            heapify(self._dues)

    def overdue(self) -> list[Waiting]:
        """Take the waiting labels that the watermark has passed, in order of their time."""
        dues, found = self._dues, []
        while dues and self.passed(dues[0].time):
            label = heappop(dues)
            if not label.gone:
                found.append(label)
        return found

    def spill(self, outcomes_position: int, now: int) -> None:
        """Mark for the state topic what lies too far back or is too old; drop the repeats that no restore will read."""
        for entry in self.predictions.spill(outcomes_position, now):
            self.touched[entry.key] = None
        for label in self.labels.spill(outcomes_position, now):
            self.touched[label.key] = None
        low = self.predictions.low() if self._repeat_order else 0
        while self._repeat_order and self._repeat_order[0][0] < low:
            offset, key = self._repeat_order.popleft()
            kept = [other for other in self.repeats.pop(key) if other != offset]
            if kept:
                self.repeats[key] = kept
            self.touched[key] = None

    def settle(self) -> None:
        """After a restore: order what was read back, and set aside what the watermark had passed."""
        self._repeat_order = deque(sorted(self._repeat_order))
        self.lapse()
        self.touched = {}
