"""The values of remembered predictions: the newest in memory, the others in a store that is handed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

MOST_IN_MEMORY = 50_000
"""A lane keeps so many values in memory: at some 500 bytes each 25 MB, so that the lanes of a process, a dozen or more,
fit beside the models into the gigabyte that a learner is given; a lane whose labels come sooner needs no disk."""
MOST_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""Or so many as this holds, if all are as large as the newest one: predictions of hundreds of features have several
thousand bytes each."""
_STORED = b""
"""Stands for a value in the store: no prediction is empty."""


class Store(Protocol):
    """Values by the offsets of their predictions, as in a dict; one that is not there, or cannot be kept, is an error."""

    def update(self, values: Iterable[tuple[int, bytes]], /) -> None: ...  # noqa: D102
    def __getitem__(self, offset: int, /) -> bytes: ...
    def __delitem__(self, offset: int, /) -> None: ...


class _Remembered(Protocol):
    offset: int
    value: bytes | None


class Values:
    """Where the values of one lane lie: nothing else depends on it. An item has its value itself, or ``read`` has it."""

    def __init__(self, store: Store, most: int) -> None:
        self.recent: deque[_Remembered] = deque()
        """What came with its value, oldest first; append to it. Some may have been forgotten since."""
        self.stored = 0
        """How many of what is remembered have their value in the store."""
        self._store = store
        self._most = most

    def read(self, item: _Remembered) -> bytes:
        """The value of what has none itself."""
        return self._store[item.offset]

    def remove(self, item: _Remembered) -> None:
        """Nobody will ask for this value in the store any more."""
        del self._store[item.offset]
        self.stored -= 1

    def settle(self) -> None:
        """Move what is too much for the memory into the store, oldest first."""
        recent, moved = self.recent, []
        size = len(recent[-1].value or b"") if recent else 0
        most = min(self._most, MOST_BYTES_IN_MEMORY // size) if size else self._most
        while recent and (len(recent) > most or recent[0].value is None):
            item = recent.popleft()
            if item.value is not None:
                moved.append((item.offset, item.value))
                item.value = _STORED
        if moved:
            self._store.update(moved)
            self.stored += len(moved)
