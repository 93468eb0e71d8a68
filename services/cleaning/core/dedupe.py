"""Which ids have passed lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class RecentIds:
    """Exactly the last ``limit`` ids that passed; each operation takes constant time, an id some 100 bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: deque[bytes] = deque()
        self._ids: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._ids

    def __len__(self) -> int:
        return len(self._order)

    def add(self, key: bytes) -> None:
        """Remember an id that is not among them, and forget the oldest when there are too many."""
        self._ids.add(key)
        self._order.append(key)
        if len(self._order) > self._limit:
            self._ids.discard(self._order.popleft())

    def restore(self, keys: Iterable[bytes]) -> None:
        """Begin anew with the keys of past output, oldest first."""
        self._order.clear()
        self._ids.clear()
        for key in deque(keys, self._limit):
            if key not in self._ids:
                self.add(key)
