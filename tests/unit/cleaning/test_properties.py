from __future__ import annotations

import json
import statistics
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import CleanEvent
from schemas.labels import CleanLabel
from services.cleaning.core import Clean
from services.cleaning.core.rules import REJECTIONS, REPAIRS
from services.domain.deadletters import rekeyed_headers
from services.domain.murmur import partition
from services.domain.records import MAX_VALUE_BYTES, Out, Output
from tests.unit.cleaning.pipelines import FEATURES, HERE, NOW, TOPICS, cleaned, event, lane_of, pipeline, raw, rules
from tests.unit.records import Rec

REPLAY = pipeline(event='clock = "replay"\ndedupe_ids = 5')
WALL = pipeline(event='timezone = "America/New_York"\ndedupe_ids = 5')
REGRESSION = pipeline(task="regression", event='time_format = "epoch_ms"\ndedupe_ids = 5')
SPECS = st.sampled_from([REPLAY, WALL, REGRESSION])

IDS = st.sampled_from([*HERE[:8], "elsewhere", "e1", " x", ""]) | st.integers(-5, 5)
TIMES = st.sampled_from(
    ["2025-01-01T12:00:00Z", "2025-01-01T18:30:00", "2024-06-01 12:00:00+05:00", "2026-01-01T12:00:00Z", "1970-01-01",
     1735732800000, "1735732800000 ", 0, "never"]
)  # fmt: skip
NUMBERS = (
    st.floats(allow_nan=True, allow_infinity=True)
    | st.floats(-100, 7000)
    | st.integers(-100, 7000)
    | st.sampled_from(["12.5", "1,234,567", "NA", "inf", 10**400, "x"])
)
WORDS = st.sampled_from(
    ["yes", "N", " true", "off", "United", "delta", " jfk  x", "", "X" * 300, "\ud800", "ŉ", "ß" * 200]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("id", "at", "distance", "dist", "temp", "weight", "gates", "holiday", "vip", "carrier", "origin", "remark",
          "late", "known_at", "other", "x\ud800")  # fmt: skip


def object_of(name: str) -> st.SearchStrategy[Any]:
    likely = {"id": IDS, "at": TIMES, "known_at": TIMES, "late": st.booleans() | NUMBERS}
    return likely.get(name, NUMBERS | WORDS | st.booleans()) | JUNK


NEARLY = st.fixed_dictionaries(
    {"id": IDS, "at": TIMES, "known_at": TIMES}, optional={n: object_of(n) for n in FIELDS[2:] if n != "known_at"}
)
CLEAN = st.builds(lambda n, x, y: raw(n, distance=x, weight=y, known_at="2025-01-01T12:00:00Z", late=True),
                  st.integers(0, 12), st.floats(0, 6000), st.none() | st.floats(-10, 10))  # fmt: skip
WRONG = st.fixed_dictionaries({}, optional={name: object_of(name) for name in FIELDS})


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The bytes of an event, perhaps cut, overwritten, doubled, or with something before or after."""
    value = json.dumps(draw(CLEAN | NEARLY | WRONG)).encode()
    match draw(st.integers(0, 8)):
        case 0:
            value = value[: draw(st.integers(0, len(value)))]
        case 1:
            at = draw(st.integers(0, len(value)))
            value = value[:at] + draw(st.binary(max_size=4)) + value[at + 1 :]
        case 2:
            value = b"\xef\xbb\xbf" + value
        case 3:
            value = value[:-1] + b',"temp":1,"temp":' + draw(st.sampled_from([b"2}", b'"3"}', b"null}", b"[]}"]))
        case 4:
            value = value.replace(b'": ', draw(st.sampled_from([b'":', b'" : ', b'"\n:'])))
    return value


@st.composite
def record(draw: st.DrawFn) -> Rec:
    value = draw(mutated() | mutated() | mutated() | st.binary(max_size=40) | st.none())
    topic = draw(st.sampled_from([TOPICS.events, TOPICS.events, TOPICS.labels, TOPICS.rekeyed]))
    key = draw(st.none() | st.binary(max_size=4))
    came = Rec(draw(st.sampled_from([TOPICS.events, TOPICS.labels])), 3, 9, NOW, key, value)
    headers = draw(st.sampled_from([[], [("h", b"1")], rekeyed_headers(came)]))
    return Rec(topic, 0, 0, draw(st.sampled_from([NOW, NOW - 86_400_000])), key, value, headers)


LOGS = st.lists(record(), max_size=40)


def all_sent(out: Output) -> dict[tuple[str, int], list[Out]]:
    return {place: sent for place, sent in out.sends.items() if sent}


@settings(max_examples=200, deadline=None)
@given(SPECS, st.lists(st.binary(max_size=200) | mutated(), max_size=30), st.sampled_from([0, 7]))
def test_no_bytes_make_the_core_raise(spec: Any, values: list[bytes], lane: int) -> None:
    """Whatever bytes arrive on any input, process() returns and no rule is the one for surprises."""
    core = Clean(spec, lane, 4, TOPICS)
    for topic in (TOPICS.events, TOPICS.labels, TOPICS.rekeyed):
        core.process([Rec(topic, lane, n, NOW, None, value) for n, value in enumerate(values)], NOW)
    assert not [name for name in core.totals if name.endswith("unexpected")]


@settings(max_examples=200, deadline=None)
@given(SPECS, LOGS)
def test_every_record_ends_in_exactly_one_place(spec: Any, log: list[Rec]) -> None:
    """What was read is what was passed, sent on, dropped as a repeat or buried, and the totals say so by name."""
    core = Clean(spec, 0, 4, TOPICS)
    sends = all_sent(core.process(log, NOW))
    totals = core.totals
    by_stream = Counter(dict.fromkeys(("events.clean", "labels.clean", "rekeyed", "deadletter"), 0))
    for (stream, _), sent in sends.items():
        by_stream[stream] += len(sent)
    buried = {name: count for name, count in totals.items() if name.startswith("deadletter.")}
    assert totals["events_in"] + totals["labels_in"] + totals["rekeyed_in"] == len(log)
    assert sum(by_stream.values()) + totals["duplicates"] == len(log)
    assert by_stream["events.clean"] == totals["events"]
    assert by_stream["labels.clean"] == totals["labels"]
    assert by_stream["rekeyed"] == totals["rekeyed_events"] + totals["rekeyed_labels"]
    assert by_stream["deadletter"] == sum(buried.values())
    assert {name.rsplit(".", 1)[1] for name in buried} <= REJECTIONS.keys() - {"unexpected"}
    letters = [letter for (stream, _), sent in sends.items() for letter in sent if stream == "deadletter"]
    assert Counter(rules(letters)) == Counter(
        {rule: sum(n for name, n in buried.items() if name.endswith("." + rule)) for rule in rules(letters)}
    )


@settings(max_examples=150, deadline=None)
@given(SPECS, LOGS)
def test_what_passes_is_what_the_contracts_promise(spec: Any, log: list[Rec]) -> None:
    """Clean records decode, lie on the lane of their id, hold the named features alone, each of its type and bounds."""
    core = Clean(spec, 0, 4, TOPICS)
    sends = core.process(log, NOW).sends
    kinds = {"number": float, "boolean": bool, "category": str}
    for sent in sends.get(("events.clean", 0), []):
        clean = msgspec.json.decode(sent.value or b"", type=CleanEvent)
        assert clean.event_id.encode() == sent.key
        assert clean.features.keys() == spec.features.keys()
        for name, value in clean.features.items():
            assert value is None or type(value) is kinds[spec.features[name].type]
            assert not isinstance(value, str) or 0 < len(value) <= 256
            assert not isinstance(value, float) or abs(value) <= 1e100
        assert clean.features["distance"] is None or 0 <= float(clean.features["distance"]) <= 6000
        assert {change.rule for change in clean.changes} <= REPAIRS.keys()
    for sent in sends.get(("labels.clean", 0), []):
        label = msgspec.json.decode(sent.value or b"", type=CleanLabel)
        assert isinstance(label.label, bool) is (spec.pipeline.task == "binary")
    for (stream, target), records in sends.items():
        for sent in records:
            assert stream != "rekeyed" or lane_of((sent.key or b"").decode()) == target != 0
            assert len(sent.value or b"") <= MAX_VALUE_BYTES


@settings(max_examples=150, deadline=None)
@given(SPECS, LOGS, st.lists(st.integers(0, 40), max_size=5), st.booleans())
def test_where_batches_end_and_restarts_fall_changes_nothing(
    spec: Any, log: list[Rec], cuts: list[int], restart: bool
) -> None:
    """One batch, or many with a restore from checkpoint and output between them, give equal outputs, totals and state."""
    log = log * 3
    whole = Clean(spec, 0, 4, TOPICS)
    expected = all_sent(whole.process(log, NOW))
    core, sent = Clean(spec, 0, 4, TOPICS), Output()
    bounds = [0, *sorted(cut * 3 for cut in cuts), len(log)]
    for start, end in pairwise(bounds):
        for place, records in core.process(log[start:end], NOW).sends.items():
            sent.to(*place).extend(records)
        if restart:
            core = restored(core, spec, sent)
    assert all_sent(sent) == expected
    assert core.totals == whole.totals
    assert core.standing() == whole.standing()


def restored(core: Clean, spec: Any, sent: Output) -> Clean:
    after = Clean(spec, 0, 4, TOPICS)
    keys = [record.key or b"" for record in sent.sends.get(("events.clean", 0), [])]
    after.restore(core.standing().data, dict(core.totals), keys[-9:])
    return after


@settings(max_examples=100, deadline=None)
@given(LOGS)
def test_cleaning_what_is_clean_changes_nothing(log: list[Rec]) -> None:
    """The features of a clean event, sent in again, pass without a change."""
    for clean in cleaned(Clean(REPLAY, 0, 4, TOPICS).process(log, NOW)):
        if partition(clean.event_id.encode(), 4) != 0:
            continue  # it came through `rekeyed` under an id of another lane; sent in again it would be re-keyed
        present = {name: value for name, value in clean.features.items() if value is not None}
        again = {"id": clean.event_id, "at": clean.time.isoformat()} | present
        (passed,) = cleaned(Clean(REPLAY, 0, 4, TOPICS).process([event(again)], NOW))
        assert passed.changes == []
        assert passed.features == clean.features
        assert (passed.event_id, passed.time) == (clean.event_id, clean.time)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_statistics_over_many_blocks_do_not_depend_on_batches_or_restarts(size: int) -> None:
    """A long log with outliers and gaps gives equal outputs and state in batches of any size, restored after each."""
    spread = enumerate(statistics.NormalDist(900, 300).samples(700, seed=5))
    log = [event(raw(n, distance=None if n % 11 == 0 else 5900 if n % 50 == 0 else abs(x), weight=x, temp=x / 90,
                     origin=None if n % 9 == 0 else f"o{n % 4}")) for n, x in spread]  # fmt: skip
    whole = Clean(REPLAY, 0, 4, TOPICS)
    expected = all_sent(whole.process(log, NOW))
    assert {"repaired.outlier_clip", "repaired.imputed_mean", "repaired.imputed_last"} <= whole.totals.keys()
    core, sent = Clean(REPLAY, 0, 4, TOPICS), Output()
    for start in range(0, len(log), size):
        for place, records in core.process(log[start : start + size], NOW).sends.items():
            sent.to(*place).extend(records)
        core = restored(core, REPLAY, sent)
    assert all_sent(sent) == expected
    assert (core.totals, core.standing()) == (whole.totals, whole.standing())


def test_both_paths_agree() -> None:
    """A record is cleaned alike whether the strict decode passes it or a repair elsewhere sends it the slow way."""
    fast, slow = Clean(REPLAY, 0, 4, TOPICS), Clean(REPLAY, 0, 4, TOPICS)
    values = [raw(n, distance=float(n % 37), temp=None if n % 5 == 0 else n % 11) for n in range(300)]
    one = fast.process([event(value) for value in values], NOW)
    other = slow.process([event(b" \xef\xbb\xbf"[1:] + json.dumps(value).encode()) for value in values], NOW)
    assert [e.features for e in cleaned(one)] == [e.features for e in cleaned(other)]
    assert fast.standing() == slow.standing()


def test_a_checkpoint_is_small_with_as_many_features_as_there_may_be() -> None:
    """200 features with every statistic and long names and values stay below 60 KiB."""
    kinds = (
        'type = "number"\nmissing = "median"\noutliers = {{ method = "mad" }}',
        'type = "category"\nmissing = "last"',
    )
    for kind in kinds:
        names = [f"a_rather_long_name_of_a_feature_{n}" for n in range(200)]
        features = "".join(f"[features.{name}]\n{kind.format()}\n" for name in names)
        core = Clean(pipeline(features, event='clock = "replay"'), 0, 4, TOPICS)
        value = 1.2345678901234567e-99 if "number" in kind else "ü" * 32
        extra = {f"unknown{'u' * 80}{n}": 1 for n in range(40)}
        for n in range(100):
            fields = {name: value * (n + 1) if isinstance(value, float) else value for name in names}
            core.process([event({"id": HERE[n], "at": "2025-01-01T12:00:00.123456Z"} | fields | extra)], NOW)
        assert len(core.standing().data) < 60 * 1024


def test_a_checkpoint_of_another_pipeline_file_restores_what_still_fits() -> None:
    """Features that are new, or of another type now, begin anew; the others go on."""
    before = Clean(REPLAY, 0, 4, TOPICS)
    before.process([event(raw(n, distance=float(n))) for n in range(50)], NOW)
    changed = FEATURES.replace('[features.vip]\ntype = "boolean"\nmissing = false', '[features.vip]\ntype = "category"')
    spec = pipeline(changed + '[features.new]\ntype = "number"\n', event='clock = "replay"')
    after = Clean(spec, 0, 4, TOPICS)
    after.restore(before.standing().data, before.totals, [])
    (clean,) = cleaned(after.process([event(raw(60, distance=None))], NOW))
    assert clean.features["distance"] == 24.5
    after.restore(None, {}, [])
    after.restore(b"null", {}, [])
