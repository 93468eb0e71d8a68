"""The script: a pipeline file, and a seeded stream of events and late labels for it. Pure.

Event time goes on by one second an event. Of the events some come twice, some badly keyed, some soiled; of the labels
most come late, some before their event, some too late, some twice, some change their mind, some belong to nothing.
Now and then the numbers shift for a while, so that incidents open and resolve.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

PIPELINE = "chaos"
PARTITIONS = 4
HORIZON = timedelta(minutes=20)
CANDIDATES = ("first", "second", "tree")
EVERY_EXAMPLES = 500
"""A snapshot of every candidate comes after so many."""
FILE = f"""
[pipeline]
name = "{PIPELINE}"
task = "binary"
[topics]
partitions = {PARTITIONS}
[event]
id = "id"
time = "at"
clock = "replay"
[label]
id = "id"
value = "late"
time = "known_at"
horizon = "20m"
[features.x]
type = "number"
range = [-100, 100]
outside = "clip"
missing = "mean"
[features.y]
type = "number"
missing = 0.0
[features.vip]
type = "boolean"
missing = false
[features.color]
type = "category"
case = "lower"
missing = "unknown"
[[encodings]]
by = []
half_life = [50]
as = "logit"
[[encodings]]
by = ["color"]
half_life = [50]
as = "logit"
[[model.candidates]]
name = "first"
model = "logistic_regression"
optimizer = "adagrad"
learning_rate = 0.03
[[model.candidates]]
name = "second"
model = "logistic_regression"
optimizer = "sgd"
learning_rate = 0.01
[[model.candidates]]
name = "tree"
model = "hoeffding_adaptive_tree"
[snapshots]
every_examples = {EVERY_EXAMPLES}
every = "1s"
live_every = "50ms"
[drift]
block = {{ events = 60, at_least = "1m", at_most = "6h" }}
"""
CLOSING = "closing-"
"""How the ids of the closing events begin."""
CLOSINGS = 100
_START = datetime(2024, 1, 1, tzinfo=UTC)
_STEP = timedelta(seconds=1)
_COLORS = ("red", "green", "blue")
_SHIFT_EVERY, _SHIFT_FOR, _SHIFT = 5_000, 1_200, 4.0
POISON = {
    b"": ("empty_value", "empty_value"),
    b"{": ("json_invalid", "json_invalid"),
    b"[]": ("not_an_object", "not_an_object"),
    b"null": ("not_an_object", "not_an_object"),
    b'{"id":true,"at":"2024-01-01T00:00:00Z"}': ("id_invalid", "id_invalid"),
    b'{"id":"","at":"2024-01-01T00:00:00Z"}': ("id_invalid", "id_invalid"),
    b'{"id":"poison"}': ("time_missing", "time_missing"),
    b'{"id":"poison","at":"yesterday"}': ("time_invalid", "time_missing"),
    b'{"id":"poison","at":"2999-01-01T00:00:00Z"}': ("time_invalid", "time_missing"),
    b'\xff\xfe{"id":"poison"}': ("bad_utf8", "bad_utf8"),
    b'{"id":"\\ud800","at":"2024-01-01T00:00:00Z"}': ("id_invalid", "id_invalid"),
    b"[" * 5_000: ("too_deep", "too_deep"),
    b'{"id":' + b"9" * 5_000 + b"}": ("id_invalid", "id_invalid"),
    b'{"id":"poison","late":2,"known_at":"2024-01-01T00:00:00Z"}': ("time_missing", "label_invalid"),
}
"""Records that cannot be used, with the rules that refuse them: as an event, as a label. Nothing else is refused."""


class Send(NamedTuple):
    """One record for a raw topic."""

    kind: Literal["events", "labels"]
    key: bytes | None
    value: bytes


class Script:
    """The stream that follows from a seed, given out in order, however it is cut."""

    def __init__(self, seed: int) -> None:
        self.events = 0
        self._random = random.Random(f"script {seed}")  # noqa: S311 - a reproducible stream, no secret
        self._due: defaultdict[int, list[Send]] = defaultdict(list)
        self._labels = 0

    def take(self, count: int) -> list[Send]:
        """The next ``count`` events, with all that comes between them."""
        sends: list[Send] = []
        for number in range(self.events, self.events + count):
            sends += self._event(number)
            sends += self._due.pop(number, ())
        self.events += count
        return sends

    def rest(self) -> list[Send]:
        """What was still to come, in its order."""
        sends = [send for number in sorted(self._due) for send in self._due[number]]
        self._due.clear()
        return sends

    def closing(self) -> list[Send]:
        """Events of later, on every partition: with them every deadline of the stream has passed."""
        later = _START + self.events * _STEP + 3 * HORIZON
        return [
            _send("events", f"{CLOSING}{number}", {"at": (later + number * _STEP).isoformat(), "x": 0.0, "y": 0.0})
            for number in range(CLOSINGS)
        ]

    def poison(self, count: int, seed: int) -> list[Send]:
        """A burst of records that cannot be used; it changes nothing in the rest of the stream."""
        rng = random.Random(f"poison {seed}")  # noqa: S311 - as above
        kinds: tuple[Literal["events", "labels"], ...] = ("events", "labels")
        values = tuple(POISON)
        return [Send(rng.choice(kinds), rng.choice((None, b"poison")), rng.choice(values)) for _ in range(count)]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _event(self, number: int) -> list[Send]:
        rng = self._random
        name: str | int = number if number % 30 == 0 else f"e-{number}"
        x, vip = rng.gauss(0, 1), self._chance(0.3)
        if number % _SHIFT_EVERY >= _SHIFT_EVERY - 2 * _SHIFT_FOR and number % _SHIFT_EVERY < _SHIFT_EVERY - _SHIFT_FOR:
            x += _SHIFT
        row: dict[str, object] = {
            "at": (_START + number * _STEP).isoformat(), "x": x, "y": rng.uniform(-1, 1), "vip": vip,
            "color": rng.choice(_COLORS),
        }  # fmt: skip
        if self._chance(0.05):
            row |= {"vip": "Yes" if vip else "no", "color": " RED ", "y": None, "junk": number}
        send = _send("events", name, row, key="elsewhere" if self._chance(0.05) else None)
        if self._chance(0.03):
            self._due[number + rng.choice((0, 1, 50, 700))].append(send)
        self._label(number, name, late=x + 0.5 * vip + rng.gauss(0, 0.5) > 0)
        if self._chance(0.02):
            self._due[number + 40].append(send)
            return []
        return [send]

    def _label(self, number: int, name: str | int, *, late: bool) -> None:
        """The labels of one event, each with a time that no other has."""
        rng = self._random
        if self._chance(0.15):
            return
        delay = rng.choice((0, 5, 100, 300, 300, 600, 900)) if self._chance(0.95) else 1_400
        values = [late]
        if self._chance(0.05):
            values.append(late)
        if self._chance(0.05):
            values.append(not late)
        if self._chance(0.02):
            name = f"nobody-{number}"
        for place, value in enumerate(values):
            at = number + delay + place * 20
            self._labels += 1
            known = _START + at * _STEP + timedelta(microseconds=self._labels % 1_000_000)
            row = {"late": value, "known_at": known.isoformat()}
            send = _send("labels", name, row, key="elsewhere" if self._chance(0.05) else None)
            self._due[at].append(send)


def _send(kind: Literal["events", "labels"], name: str | int, row: dict[str, object], key: str | None = None) -> Send:
    return Send(kind, (key or str(name)).encode(), json.dumps({"id": name} | row).encode())
