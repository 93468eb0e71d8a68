"""No pipeline file that passes the checks makes a checkpoint too large, whatever producers send."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from schemas.codec import encode
from schemas.state import CHECKPOINT_MAX_BYTES, Checkpoint
from services.cleaning.core import Clean
from services.cleaning.core.rules import REJECTIONS, REPAIRS
from services.domain.records import Core
from services.domain.spec_features import MOST_FEATURES, NAME_MAX
from services.drift.core.detect import Detect
from services.drift.core.summarise import Summarise
from tests.unit.cleaning.pipelines import HERE, NOW, TOPICS, event, pipeline
from tests.unit.drift import streams
from tests.unit.records import Rec

NAMES = ["😀", "x"]
LETTERS = ["😀", "\x01", '"']
"""In JSON a control character takes six bytes, a quote two, others what UTF-8 takes."""
TOPIC = "t" * 249
COUNT, NUMBER = 2**53, -1.2345678901234567e-100
KINDS = [
    'type = "number"\nmissing = "median"\noutliers = { method = "mad" }',
    'type = "number"',
    'type = "category"\nmissing = "last"',
    'type = "boolean"\nmissing = "last"',
]


def longest(letter: str, count: int = MOST_FEATURES) -> list[str]:
    """So many names of features, each as long as one may be."""
    room = (NAME_MAX - 3) // len(letter.encode())
    return [f"{n:03d}{letter * room}" for n in range(count)]


def quoted(name: str) -> str:
    """A key of TOML."""
    return json.dumps(name, ensure_ascii=False)


def greatest(value: Any) -> Any:
    """The same with every count and every number but 0.0 as long as one may become."""
    if isinstance(value, dict):
        return {key: greatest(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [greatest(inner) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | float) or (value == 0 and isinstance(value, float)):
        return value
    return COUNT if isinstance(value, int) else NUMBER


def checkpoint_bytes(core: Core, data: bytes, totals: list[str]) -> int:
    inputs = {f"{TOPIC[:-1]}{n}": COUNT for n in range(3)}
    counted = dict.fromkeys([*core.totals, *totals], COUNT)
    at = datetime(2199, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)
    return len(encode(Checkpoint("summarise", 255, inputs, inputs, at, counted, None, msgspec.Raw(data))))


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("kind", KINDS)
def test_cleaning(kind: str, letter: str) -> None:
    """As many features as there may be with the longest names, the worst of texts as values, the worst unknown fields."""
    names = longest(letter if letter in NAMES else "x")
    features = "".join(f"[features.{quoted(name)}]\n{kind}\n" for name in names)
    core = Clean(pipeline(features, event='clock = "replay"'), 0, 4, TOPICS)
    unknown = {f"{n:02d}{letter * 62}": 1 for n in range(40)}
    texts = [letter * length for length in range(1, 66)]
    for n, text in enumerate(texts):
        value: Any = n % 2 == 0 if "boolean" in kind else text if "category" in kind else NUMBER * n
        row = {"id": HERE[n], "at": "2025-01-01T12:00:00.123456Z"} | dict.fromkeys(names, value) | unknown
        core.process([event(row)], NOW)
    assert core.totals["events"] == len(texts)
    data = msgspec.json.decode(core.standing().data)
    if "category" in kind:
        assert data["categories"].keys() == set(names)
        for profile in data["categories"].values():
            profile[2] = "f" * 64  # a bitmap with every bit set
    totals = [f"repaired.{rule}" for rule in REPAIRS]
    totals += [f"deadletter.{stream}.{rule}" for stream in ("events", "labels") for rule in REJECTIONS]
    size = checkpoint_bytes(core, msgspec.json.encode(greatest(data)), totals)
    assert size <= CHECKPOINT_MAX_BYTES


def drifting(names: list[str], partitions: int = 1) -> Any:
    """A pipeline of numbers with these names."""
    return streams.spec([quoted(name) for name in names], partitions)


@pytest.mark.parametrize("letter", NAMES)
@pytest.mark.parametrize("events", [8, 210])
def test_summarise(letter: str, events: int) -> None:
    """Before features have started, and with a part in progress and the losses of every candidate."""
    names = longest(letter, MOST_FEATURES - 1)  # beside the category that the pipeline has
    core = Summarise(drifting(names), 0, 1, streams.PREDICTIONS, streams.EXAMPLES)
    core.process(streams.stream(events, lambda _: {}, numbers=names), 0)
    core.process([scored(n) for n in range(20)], 0)
    data = msgspec.json.decode(core.standing().data)
    assert len(data["losses"]["loss"]) == 16
    assert any(base64.b64decode(first) for first in data["standards"]["first"]) is (events < 9)
    size = checkpoint_bytes(core, msgspec.json.encode(greatest(data)), ["deadletter.undecodable"])
    assert size <= CHECKPOINT_MAX_BYTES


def scored(offset: int) -> Rec:
    """An example with scores of sixteen candidates, their names as long as they may be."""
    record = msgspec.json.decode(streams.example(offset, 0.3, label=True).value or b"")
    record["model"]["candidate"] = f"{0:064d}"
    challenger = {"version": COUNT, "examples_offset": COUNT, "score": 0.5}
    record["challengers"] = [challenger | {"candidate": f"{n:064d}"} for n in range(1, 16)]
    return Rec(streams.EXAMPLES, 0, offset, 1000 + offset, b"k", msgspec.json.encode(record))


@pytest.mark.parametrize("letter", NAMES)
def test_detect(letter: str) -> None:
    """Every feature that is watched moves at once, with as many lanes as there may be."""
    names = longest(letter, MOST_FEATURES - 1)
    spec = drifting(names)
    part = msgspec.json.decode(
        streams.summaries(spec, streams.stream(400, lambda _: {}, numbers=names))[1].value or b""
    )
    core = Detect(spec)
    told = [alert for n in range(60) for alert in streams.alerts(core.process([later(part, n, moved=n > 40)], 0))]
    assert len(told[0].suspects) == 10
    data = msgspec.json.decode(core.standing().data)
    data["order"]["times"] = dict.fromkeys(map(str, range(256)), "2199-12-31T23:59:59.123456Z")
    data["order"]["absent"] = list(range(256))
    size = checkpoint_bytes(core, msgspec.json.encode(data), ["deadletter.undecodable"])
    assert size <= CHECKPOINT_MAX_BYTES


def later(part: dict[str, Any], day: int, *, moved: bool) -> Rec:
    """The part again some days later, its numbers a little above or below, or far away."""
    times = {name: streams.START + timedelta(days=day, hours=n) for n, name in enumerate(("start", "watermark", "end"))}
    away = 80.0 if moved else day % 2 + 0.1234567890123456
    features = {name: {**each, "clipped": each["count"] * away} for name, each in part["features"].items()}
    return Rec(streams.SUMMARIES, 0, day, day, b"0", msgspec.json.encode({**part, **times, "features": features}))
