"""Which ids have passed lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

_MARKS = 256


class RecentIds:
    """Exactly the last ``limit`` ids that passed, in ``ids``; each operation takes constant time, an id some 100 bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: deque[bytes] = deque()
        self.ids: set[bytes] = set()
        self._added, self._newest = 0, 0
        self._marks: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, key: bytes) -> None:
        """Remember an id that is not among them, and forget the oldest when there are too many."""
        self.ids.add(key)
        self._order.append(key)
        self._added += 1
        if len(self._order) > self._limit:
            self.ids.discard(self._order.popleft())

    def mark(self, stamp: int) -> None:
        """Note when the newest ids came in (ms since the epoch); call it now and then, as after each batch."""
        if not self._marks or self._added - self._marks[-1][0] >= self._limit / _MARKS:
            self._marks.append((self._added, stamp))
        self._newest = stamp
        while len(self._marks) > 1 and self._marks[1][0] <= self._added - self._limit:
            self._marks.popleft()

    @property
    def span(self) -> int:
        """Milliseconds between the oldest and the newest id remembered, as far as marks tell: since the last restore."""
        return max(0, self._newest - self._marks[0][1]) if self._marks else 0

    def restore(self, keys: Iterable[bytes]) -> None:
        """Begin anew with the keys of past output, oldest first."""
        self._order.clear()
        self.ids.clear()
        self._marks.clear()
        for key in deque(keys, self._limit):
            if key not in self.ids:
                self.add(key)
