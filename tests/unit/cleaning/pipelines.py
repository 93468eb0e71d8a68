"""Pipelines and records for the tests of the cleaning core."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from schemas.events import CleanEvent
from services.cleaning.core import Clean, Inputs
from services.domain.murmur import partition
from services.domain.records import Header, Out, Output
from services.domain.spec import Spec, parse
from tests.unit.records import Rec

TOPICS = Inputs(events="p.events.raw", labels="p.labels.raw", rekeyed="p.rekeyed")
NOW = 1_735_787_045_000
NOON = "2025-01-01T12:00:00Z"

FRAME = """
[pipeline]
name = "p"
task = "{task}"
[topics]
partitions = 4
[event]
id = "id"
time = "at"
{event}
[label]
id = "id"
value = "late"
time = "known_at"
horizon = "24h"
{label}
{features}
[[model.candidates]]
name = "m"
model = "{model}"
"""

FEATURES = """
[features.distance]
type = "number"
aliases = ["dist", "miles"]
range = [0, 6000]
outside = "missing"
missing = "mean"
outliers = { method = "mad", threshold = 8.0, then = "clip" }
[features.temp]
type = "number"
range = [-60, 60]
outside = "clip"
missing = "median"
[features.weight]
type = "number"
missing = "last"
outliers = { method = "mad", threshold = 5.0, then = "missing" }
[features.gates]
type = "number"
missing = 7.0
[features.holiday]
type = "boolean"
missing = "last"
[features.vip]
type = "boolean"
missing = false
[features.carrier]
type = "category"
case = "upper"
synonyms = { "United" = "UA", "Delta" = "DL" }
missing = "unknown"
[features.origin]
type = "category"
missing = "last"
[features.remark]
type = "category"
"""


def pipeline(features: str = FEATURES, *, task: str = "binary", event: str = "", label: str = "") -> Spec:
    model = "logistic_regression" if task == "binary" else "linear_regression"
    return parse(FRAME.format(task=task, event=event, label=label, features=features, model=model))


def lane_of(key: str) -> int:
    return partition(key.encode(), 4)


def ids(lane: int, count: int) -> list[str]:
    """Ids that belong to a lane of four."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        number += 1
        if lane_of(f"e{number}") == lane:
            found.append(f"e{number}")
    return found


HERE = ids(0, 2000)


def event(value: Any, *, offset: int = 0, key: bytes | None = b"k", headers: Sequence[Header] = (),
          stamp: int = NOW) -> Rec:  # fmt: skip
    return Rec(TOPICS.events, 0, offset, stamp, key, _bytes(value), headers)


def label(value: Any, *, offset: int = 0, key: bytes | None = b"k", stamp: int = NOW) -> Rec:
    return Rec(TOPICS.labels, 0, offset, stamp, key, _bytes(value))


def raw(number: int = 0, **fields: Any) -> dict[str, Any]:
    """An event of lane 0 with nothing wrong."""
    right = {"distance": 500.0, "temp": 10.5, "weight": 70.0, "gates": 3.0, "holiday": False, "vip": True,
             "carrier": "UA", "origin": "JFK", "remark": "none today"}  # fmt: skip
    return {"id": HERE[number], "at": NOON} | right | fields


def cleaned(out: Output, lane: int = 0) -> list[CleanEvent]:
    return [msgspec.json.decode(o.value or b"", type=CleanEvent) for o in out.sends.get(("events.clean", lane), [])]


def dead(out: Output, lane: int = 0) -> list[Out]:
    return out.sends.get(("deadletter", lane), [])


def rules(letters: Iterable[Out]) -> list[str]:
    return [dict(letter.headers)["rivermill.rule"].decode() for letter in letters]


def one(value: Any, features: str = FEATURES, **tables: str) -> tuple[CleanEvent | None, str]:
    """What becomes of one event on a fresh lane: the clean event, or None and the rule."""
    out = Clean(pipeline(features, **tables), 0, 4, TOPICS).process([event(value)], NOW)
    events, letters = cleaned(out), rules(dead(out))
    assert len(events) + len(letters) == 1
    return (events[0], "") if events else (None, letters[0])


def one_label(value: Any, task: str = "binary", **tables: str) -> dict[str, Any] | str:
    """What becomes of one label on a fresh lane: the clean label as a dict, or the rule."""
    out = Clean(pipeline(task=task, **tables), 0, 4, TOPICS).process([label(value)], NOW)
    letters = rules(dead(out))
    sent = out.sends.get(("labels.clean", 0), [])
    assert len(sent) + len(letters) == 1
    return json.loads(sent[0].value or b"") if sent else letters[0]


def _bytes(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
