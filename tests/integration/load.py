"""A reproducible stream of raw events and late labels, part of it soiled, that knows what must become of it."""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.cli.topic_batches import Keyed

START = datetime(2020, 1, 1, tzinfo=UTC)
LABEL_AFTER = 300
COLORS = ("red", "green", "blue")


class Load:
    """Events one second apart; most get a label, 300 events later.

    ``expected`` counts what must be made of all that was given out: ``events`` and ``labels`` (cleaned),
    ``duplicates``, ``poison_events``, ``poison_labels``. ``more`` are further fields of every event from now on.
    ``drifted`` are the numbers of the events whose y, which no label depends on, is raised by a tenth of its range.
    """

    def __init__(self, prefix: str, begin: int = 0, *, seed: int = 7, drifted: Sequence[int] = ()) -> None:
        self.expected: Counter[str] = Counter()
        self.more: dict[str, object] = {}
        self._prefix = prefix
        self._next = begin
        self._drifted = drifted
        self._random = random.Random(seed + begin)  # noqa: S311 - a reproducible stream, no secret
        self._due: deque[tuple[int, list[Keyed]]] = deque()

    def portion(self, count: int) -> tuple[list[Keyed], list[Keyed]]:
        """The next ``count`` events and the labels that come meanwhile, as keyed records for the two raw topics."""
        events: list[Keyed] = []
        labels: list[Keyed] = []
        for number in range(self._next, self._next + count):
            events += self._event(number)
            while self._due and self._due[0][0] <= number:
                labels += self._due.popleft()[1]
        self._next += count
        return events, labels

    def rest(self) -> list[Keyed]:
        """The labels that were still to come."""
        labels = [label for _, due in self._due for label in due]
        self._due.clear()
        return labels

    def _event(self, number: int) -> list[Keyed]:
        rng, name = self._random, f"{self._prefix}-{number}"
        x, y, vip, color = rng.gauss(0, 1), rng.uniform(-1, 1), rng.random() < 0.3, rng.choice(COLORS)
        at = START + timedelta(seconds=number)
        row: dict[str, object] = {"id": name, "at": at.isoformat(), "x": x, "y": y, "vip": vip, "color": color}
        row |= self.more
        if number % 20 == 0:
            row |= {"vip": "Yes" if vip else "no", "color": f" {color.upper()}", "junk": number}
        if number in self._drifted:
            row["y"] = y + 0.2
        if number % 33 == 0:
            row["y"] = None
        value = json.dumps(row).encode()
        key = f"other-{number}".encode() if number % 10 == 3 else name.encode()
        self.expected["events"] += 1
        sent: list[Keyed] = [(key, value)]
        if number % 50 == 7:
            self.expected["duplicates"] += 1
            sent.append((name.encode(), value))
        if number % 100 == 11:
            self.expected["poison_events"] += 1
            sent.append((None, value[: len(value) // 2]))
        if rng.random() < 0.8:
            late = x + 0.5 * vip + rng.gauss(0, 0.5) > 0
            self._due.append((number + LABEL_AFTER, self._labels(number, name, late=late, at=at)))
        return sent

    def _labels(self, number: int, name: str, *, late: bool, at: datetime) -> list[Keyed]:
        """The label of one event; some come twice, change their mind, belong to nothing or cannot be read."""
        known = {"known_at": (at + timedelta(minutes=20)).isoformat()}
        first = json.dumps({"id": name, "late": late} | known).encode()
        sent: list[Keyed] = [(name.encode(), first)]
        if number % 40 == 1:
            sent.append((name.encode(), first))
        if number % 40 == 2:
            sent.append((name.encode(), json.dumps({"id": name, "late": not late} | known).encode()))
        if number % 40 == 5:
            sent.append((b"wrong", json.dumps({"id": f"nobody-{name}", "late": late} | known).encode()))
        self.expected["labels"] += len(sent)
        if number % 100 == 9:
            self.expected["poison_labels"] += 1
            sent.append((None, b'{"late":tru'))
        return sent
