"""What one input of the join has to be read back for, and what of it moves to the state topic instead."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Generic, NamedTuple, Protocol, TypeVar

MOST_AT_ONCE = 10_000
"""So many records go to the state topic in one step: after a restart, or an outage, very many may be due together."""
_PARTS = 200
"""Marks lie so close that the stretch of one is at most this part of what may be read back."""


class _Remembered(Protocol):
    offset: int

    @property
    def gone(self) -> bool: ...


Item = TypeVar("Item", bound=_Remembered)


class Mark(NamedTuple):
    """From this offset on, up to the next mark: where the outcomes ended, and how late it was, when it was read.

    ``timestamp`` is that of the first record, at most: Kafka deletes a log from its beginning, so before it is that old
    nothing from ``offset`` on is deleted.
    """

    offset: int
    outcomes: int
    timestamp: int


class Backlog(Generic[Item]):
    """What one input has to be read back for, in order of offset, and since when its outcomes count.

    Items below ``spilled_to`` are kept in the state topic and not here: what lies more than ``spill_after`` records back,
    and what is older than ``keep_ms``.
    """

    def __init__(self, spill_after: int, keep_ms: int | None) -> None:
        self.position = 0
        self.spilled_to = 0
        self.items: deque[Item] = deque()
        self.marks: deque[Mark] = deque([Mark(0, 0, 0)])
        self._spill_after = spill_after
        self._keep_ms = keep_ms
        self._grain = max(1, spill_after // _PARTS)
        self._grain_ms = inf if keep_ms is None else max(1, keep_ms // _PARTS)

    def begin(self, offset: int, outcomes: int, timestamp: int) -> None:
        """Records from ``offset`` on are read, of this timestamp or later, with outcomes at or after ``outcomes``."""
        last = self.marks[-1]
        if last.offset == offset:
            self.marks[-1] = Mark(offset, outcomes, timestamp)
        elif outcomes - last.outcomes >= self._grain or timestamp - last.timestamp >= self._grain_ms:
            self.marks.append(Mark(offset, outcomes, timestamp))

    def low(self) -> int:
        """The offset of the oldest record to read back; ``position`` when there is none."""
        items = self.items
        while items and items[0].gone:
            items.popleft()
        return items[0].offset if items else self.position

    def outcomes_low(self) -> int | None:
        """An offset at or below the first outcome of what is to be read back; None when there is nothing."""
        low = self.low()
        marks = self.marks
        while len(marks) > 1 and marks[1].offset <= low:
            marks.popleft()
        return marks[0].outcomes if self.items else None

    def spill(self, outcomes: int, now: int) -> list[Item]:
        """Take out what lies too far back, in its own input or in the outcomes, or is too old; the rest another time."""
        line = max(self.position - self._spill_after, self._line(outcomes - self._spill_after, now))
        items = self.items
        out: list[Item] = []
        while items and items[0].offset < line and len(out) < MOST_AT_ONCE:
            item = items.popleft()
            if not item.gone:
                out.append(item)
        self.spilled_to = max(self.spilled_to, min(line, items[0].offset) if items else line)
        return out

    def _line(self, outcomes: int, now: int) -> int:
        """The first offset that lies neither too far back in the outcomes nor is too old."""
        oldest = -inf if self._keep_ms is None else now - self._keep_ms
        for mark in self.marks:
            fresh = mark.outcomes >= outcomes and mark.timestamp >= oldest
            if fresh or mark.offset >= self.position:
                return mark.offset
        return self.position
