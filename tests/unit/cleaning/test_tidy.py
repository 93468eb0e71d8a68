from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median_low
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cleaning.core import Clean
from services.cleaning.core.decode import Reader
from services.cleaning.core.derived import Derived
from services.cleaning.core.rules import Rejected
from services.cleaning.core.times import Clock
from services.domain.records import Output
from tests.unit.cleaning.pipelines import FEATURES, NOW, TOPICS, cleaned, dead, event, pipeline, raw, rules

MORE = """
[features.km]
type = "number"
unit = 1.609344
range = [0, 3000]
outside = "missing"
missing = "mean"
[features.degrees]
type = "number"
unit = 0.5
outliers = { method = "mad", threshold = 5.0, then = "reject" }
[features.must]
type = "number"
range = [0, 100]
missing = "reject"
[features.kind]
type = "category"
missing = "reject"
[features.hour]
type = "category"
derive = "hour"
[features.weekday]
type = "category"
derive = "weekday"
"""
ALL = pipeline(FEATURES + MORE, event='clock = "replay"\ntimezone = "Asia/Kathmandu"')
NUMBERS = st.sampled_from([-1.0, 0.0, -0.0, 5.5, 60.0, 1900.0, 6000.0])
WORDS = st.sampled_from(["UA", "DL", "ua", "JFK", "a,b", 'quo"te', " x", ""])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "distance": NUMBERS, "temp": NUMBERS, "weight": NUMBERS, "gates": NUMBERS, "km": NUMBERS, "degrees": NUMBERS,
    "must": NUMBERS, "holiday": st.booleans(), "vip": st.booleans(), "carrier": WORDS, "origin": WORDS, "remark": WORDS,
    "kind": WORDS, "note": WORDS, "flight": st.integers(), "more": st.sampled_from([{"id": [1, "2,3"]}, []]),
}  # fmt: skip
USUAL = {"km": 100.0, "degrees": 1.0, "must": 50.0, "kind": "a", "flight": 7, "note": "a,b", "more": {"a": [1, "2"]}}
SPREAD = [{"degrees": 1 + n % 7 / 10, "weight": 70 + n % 5, "distance": 500 + n % 9} for n in range(70)]
"""Enough for outliers to be told: the values of :data:`USUAL` and of :func:`raw` are none."""
CHANGED = st.sampled_from(list(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), st.none() | FIELDS[name]))
EVENTS = st.lists(CHANGED, max_size=3).map(dict)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=12), st.integers(0, 7200))
def test_a_tidy_record_is_cleaned_as_one_that_goes_through_every_rule(drawn: list[Any], step: int) -> None:
    """Records that the strict decode passes, holes in them or not, and the same behind a byte order mark, which sends
    them through all rules one by one: equal features, repairs, dead letters and statistics.
    """
    at = datetime(2025, 1, 1, tzinfo=UTC)
    records = [
        json.dumps(raw(n, **USUAL) | fields | {"at": (at + n * timedelta(seconds=step)).isoformat()}).encode()
        for n, fields in enumerate([*SPREAD, *drawn])
    ]
    tidy, ruled = Clean(ALL, 0, 4, TOPICS), Clean(ALL, 0, 4, TOPICS)
    one = tidy.process([event(value) for value in records], NOW)
    other = ruled.process([event(b"\xef\xbb\xbf" + value) for value in records], NOW)
    assert told(one) == told(other)
    assert rules(dead(one)) == rules(dead(other))
    assert tidy.standing() == ruled.standing()


def told(out: Output) -> list[Any]:
    return [(it.features, [change for change in it.changes if change.rule != "bom"]) for it in cleaned(out)]


TYPES = {"id": str | int, "at": datetime, "x": float, "word": str, "flag": bool}
ALIASES = {"ex": "x"}
KNOWN = {"id": "e1", "at": "2025-01-01T12:00:00Z", "x": 1.5, "word": "a", "flag": True}
OFTEN = {"year": 2013, "note": "a,b", "more": {"x": [1, '"']}}
PIECES = st.lists(
    st.sampled_from([
        b'"x":2', b'"x":null', b'"\\u0078":3', b'"word":"a,b"', b'"word":"\\u002c"', b'"word":null', b'"flag":false',
        b'"year":1', b'"year":null', b'"note":"\\""', b'"note":","', b'"more":{"year":[1,2],"a":"b"}', b'"more":[]',
        b'"rare":1', b'"r,":1', b'"r\\"":[","]', b'"ex":4', b'"id":5', b'"at":"2025-01-01T12:00:00Z"',
        b'"__other__":1',
    ]),
    max_size=8,
)  # fmt: skip


@pytest.mark.parametrize("usual", [KNOWN, KNOWN | OFTEN])
@settings(max_examples=300, deadline=None)
@given(pieces=PIECES, whole=st.booleans())
def test_what_a_reader_has_seen_before_changes_nothing(usual: dict[str, Any], pieces: list[bytes], whole: bool) -> None:
    """A reader that has come to expect some unknown fields reads and refuses what a fresh one does, which looks at every
    key, and counts as many unknown fields: fields absent, null, twice, under an alias, with commas and quotes in them.
    """
    value = b"{" + b",".join([*([json.dumps(usual)[1:-1].encode()] if whole else []), *pieces]) + b"}"
    fresh, used = Reader(TYPES, ALIASES), Reader(TYPES, ALIASES)
    for _ in range(20):
        assert used.strict(json.dumps(usual).encode()) is not None
    assert set(used.often) == usual.keys() - TYPES.keys()
    before = Counter(used.unknown)
    one, other = fresh.strict(value), used.strict(value)
    assert (one and list(one)) == (other and list(other))
    assert Counter(used.unknown) - before == Counter(fresh.unknown)
    pairs: list[tuple[str, Any]] = json.loads(value, object_pairs_hook=list)
    keys = {name for name, _ in pairs}
    if len(keys) < len(pairs) or "ex" in keys:
        assert other is None


def test_unknown_fields_are_counted_one_by_one_once_they_are_expected() -> None:
    """Of fields that come always, sometimes and once each is counted as often as it came; no more than 32 have names."""
    reader = Reader(TYPES, {})
    expected: Counter[str] = Counter()
    for n in range(200):
        unknown = {"always": n, f"once{n % 100}": 1} | ({"sometimes": "x"} if n % 3 else {}) | {"é": None}
        expected.update(unknown.keys())
        assert reader.strict(msgspec.json.encode(KNOWN | unknown)) is not None
    counts = reader.unknown
    assert len(counts) == 33
    assert counts["__other__"] == 200 - sum(count for name, count in counts.items() if name.startswith("once"))
    assert {name: counts[name] for name in ("always", "sometimes", "é")} == {
        name: expected[name] for name in ("always", "sometimes", "é")
    }
    after = Reader(TYPES, {})
    after.restore(counts)
    assert after.strict(msgspec.json.encode(KNOWN | {"always": 1})) is not None
    assert after.unknown["always"] == 201


CHANGES_OF_CLOCKS = st.sampled_from([
    ("UTC", "2024-03-10T07:00:00"), ("America/New_York", "2024-03-10T07:00:00"),
    ("America/New_York", "2024-11-03T06:00:00"), ("Asia/Kathmandu", "2024-12-31T18:15:00"),
    ("Australia/Lord_Howe", "2024-04-06T15:00:00"), ("Australia/Lord_Howe", "2024-10-05T15:30:00"),
    ("Africa/Monrovia", "1972-01-07T00:44:30"),
])  # fmt: skip
STEPS = st.lists(st.integers(-9000, 9000) | st.integers(-900, 900), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(CHANGES_OF_CLOCKS, STEPS)
def test_derived_fields_are_those_of_the_local_time(change: tuple[str, str], steps: list[int]) -> None:
    """Whatever times came before, also where clocks change, by half an hour or by seconds."""
    zone, start = change
    time = datetime.fromisoformat(start).replace(tzinfo=UTC)
    derived = Derived(("hour", "weekday", "month"), zone)
    for step in steps:
        time += timedelta(seconds=step)  # to and fro across the change
        local = time.astimezone(ZoneInfo(zone))
        assert derived.of(time) == (f"{local:%H}", f"{local:%a}".lower(), f"{local:%m}")


@settings(max_examples=200)
@given(st.lists(st.integers(-200, 400), max_size=60), st.integers(0, 30))
def test_the_replay_clock_holds_every_time_against_the_median_of_those_before(hours: list[int], restart: int) -> None:
    """A time passes unless it lies more than max_ahead beyond the lower median of the nine before it, restarts or not."""
    ahead, zero = timedelta(hours=48), datetime(2025, 1, 1, tzinfo=UTC)
    clock = Clock("replay", ahead, timedelta())
    times = [zero + timedelta(hours=hour) for hour in hours]
    for n, time in enumerate(times):
        if n == restart:
            before, clock = clock, Clock("replay", ahead, timedelta())
            clock.received.extend(before.received)
        last = times[max(0, n - 9) : n]
        if last and time - ahead > median_low(last):
            with pytest.raises(Rejected):
                clock.check_event(time, 0)
        else:
            clock.check_event(time, 0)
