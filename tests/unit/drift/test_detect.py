from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.alerts import Alert
from services.domain.records import Out
from services.drift.core.detect import Detect
from tests.unit.drift import streams
from tests.unit.records import Rec

EVENTS = 24_000
SHIFTED = range(12_000, 16_000)


def once(i: int) -> dict[str, float]:
    return {"a": 15.0} if i in SHIFTED else {}


def for_ever(i: int) -> dict[str, float]:
    return {"a": 15.0} if i >= SHIFTED.start else {}


LOG = streams.summaries(streams.spec(), streams.stream(EVENTS, once))


def test_a_shift_that_ends_is_one_incident_that_recovers() -> None:
    """Exactly one incident opens within two blocks' thousand events, the shifted feature first, and recovers."""
    told = streams.alerts(Detect(streams.spec()).process(LOG, 0))
    assert [(alert.state, alert.resolution) for alert in told] == [("opened", None), ("resolved", "recovered")]
    opened, resolved = told
    minutes = (opened.detected_at - streams.START).total_seconds() / 60
    assert SHIFTED.start < minutes < SHIFTED.start + 2000
    assert opened.suspects[0].feature == "a"
    assert (opened.kind, opened.signal) == ("drift", "mean:a")
    before, after = resolved.suspects[0].before, resolved.suspects[0].after
    assert before is not None
    assert after is not None
    assert abs(before - 100) < 1
    assert abs(after - 115) < 2
    assert "100" in opened.summary


def test_a_shift_that_stays_is_accepted() -> None:
    """A permanent shift opens one incident, which resolves as the new normal."""
    told = streams.detected(streams.spec(), streams.stream(28_000, for_ever))
    assert [(alert.state, alert.resolution) for alert in told] == [("opened", None), ("resolved", "accepted")]


def test_nothing_moves_nothing_is_told() -> None:
    """Independent normal features raise no incident over 100 blocks."""
    assert streams.detected(streams.spec(), streams.stream(20_000, lambda _: {}, seed=3)) == []


def test_features_that_move_together_are_one_incident() -> None:
    """Two features shifted at once are two suspects of one incident, ranked by how far they moved."""
    told = streams.detected(
        streams.spec(), streams.stream(16_000, lambda i: {"a": 9.0, "b": 30.0} if i >= SHIFTED.start else {})
    )
    assert {alert.incident_id for alert in told} == {told[0].incident_id}
    assert [suspect.feature for suspect in told[-1].suspects] == ["b", "a"]
    assert abs(sum(suspect.share for suspect in told[-1].suspects) - 1) < 1e-3


def test_values_that_go_missing_are_a_data_quality_incident() -> None:
    """A tenth of a category going missing is an incident of data quality with the rates before and after."""
    rng = random.Random(5)  # noqa: S311 - a seeded test stream
    records = [
        streams.prediction({"kind": None if i > SHIFTED.start and rng.random() < 0.1 else "x"}, i, i)
        for i in range(14_000)
    ]
    [opened] = streams.detected(streams.spec(), records)
    assert (opened.kind, opened.signal, opened.suspects[0].feature) == ("data_quality", "missing:kind", "kind")
    assert opened.suspects[0].before is not None
    assert opened.suspects[0].before < 0.01


def test_a_champion_that_gets_worse_is_a_performance_incident() -> None:
    """A rise of the champion's log loss is an incident of performance; a fall is none."""
    rng = random.Random(5)  # noqa: S311 - a seeded test stream
    for skill, kinds in ((0.6, ["performance"]), (0.95, [])):
        labels = [rng.random() < (0.8 if i < SHIFTED.start else skill) for i in range(15_000)]
        told = streams.detected(streams.spec(), [streams.example(i, 0.8, label) for i, label in enumerate(labels)])
        assert [alert.kind for alert in told] == kinds


def test_signals_and_incidents_tell_how_it_stands() -> None:
    """While a shift lasts its signal alone is out, its sum beyond the threshold, its level away from its reference."""
    detect = Detect(streams.spec())
    detect.process(streams.summaries(streams.spec(), streams.stream(14_000, once)), 0)
    signals = {signal.name: signal for signal in detect.signals()}
    assert [name for name, signal in signals.items() if signal.out] == ["mean:a"]
    assert [name for name, signal in signals.items() if signal.sum_ratio > 1] == ["mean:a"]
    assert abs(signals["mean:a"].reference - 100) < 1
    assert abs(signals["mean:a"].level - 115) < 2
    assert signals["mean:b"].level == pytest.approx(100, abs=2)
    assert sum(detect.incidents().values()) == 1
    assert {kind for kind, _ in detect.incidents()} == {"drift"}

    restored = Detect(streams.spec())
    restored.restore(detect.standing().data, detect.totals)
    assert list(restored.signals()) == list(detect.signals())
    assert restored.incidents() == detect.incidents()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(LOG)), max_size=5))
def test_batches_and_restarts_change_nothing(cuts: list[int]) -> None:
    """Splitting summaries anywhere, restoring at each split, gives the same alerts, byte for byte, and the same state."""
    whole = Detect(streams.spec())
    expected = whole.process(LOG, 0).sends
    got: list[Out] = []
    detect = Detect(streams.spec())
    bounds = [0, *sorted(cuts), len(LOG)]
    for begin, end in pairwise(bounds):
        got += detect.process(LOG[begin:end], 0).sends.get(("alerts", 0), [])
        standing = detect.standing()
        totals, detect = detect.totals, Detect(streams.spec())
        detect.restore(standing.data, totals, LOG[standing.low_water.get(streams.SUMMARIES, end) : end])
    assert got == expected[("alerts", 0)]
    assert detect.standing() == whole.standing()
    assert detect.totals == whole.totals


def lanes_log(turns: list[int]) -> tuple[Any, list[Rec]]:
    pipeline = streams.spec(partitions=3)
    lanes = [streams.core(pipeline, lane) for lane in range(3)]
    records = streams.stream(9000, lambda i: {"a": 40.0} if i > 7500 else {})
    parts = [lanes[p].process([r for r in records if r.offset % 3 == p], 0).sends[("summaries", 0)] for p in range(3)]
    picked = [parts[turn].pop(0) for turn in turns if parts[turn]]
    log = picked + [out for left in parts for out in left]
    return pipeline, [Rec(streams.SUMMARIES, 0, i, out.timestamp, out.key, out.value) for i, out in enumerate(log)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=100), st.integers(0, 130))
def test_what_waits_for_other_lanes_is_read_back(turns: list[int], cut: int) -> None:
    """With lanes far apart in the log, a restart that reads back from the low water tells what was told without it."""
    pipeline, log = lanes_log(turns)
    cut = min(cut, len(log))
    whole = Detect(pipeline)
    expected = streams.alerts(whole.process(log, 0))
    first = Detect(pipeline)
    told = streams.alerts(first.process(log[:cut], 0))
    standing = first.standing()
    second = Detect(pipeline)
    second.restore(standing.data, first.totals, log[standing.low_water.get(streams.SUMMARIES, cut) : cut])
    assert told + streams.alerts(second.process(log[cut:], 0)) == expected
    assert second.standing() == whole.standing()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_incidents_are_told_in_order(seed: int) -> None:
    """Every incident is opened once, then updated at most three times, then resolved at most once; ids never repeat."""
    rng = random.Random(seed)  # noqa: S311 - a seeded test stream
    level = {"a": 0.0, "b": 0.0}
    records = []
    for i in range(12_000):
        if i > 6000 and rng.random() < 0.002:
            level[rng.choice("ab")] = rng.choice([0.0, 12.0, -20.0, 400.0])
        records.append(streams.prediction({name: rng.gauss(100, 10) + level[name] for name in level}, i, i))
    told = streams.detected(streams.spec(), records)
    states = defaultdict(list)
    for alert in told:
        states[alert.incident_id].append(alert.state)
    for steps in states.values():
        middle = steps[1:-1] if steps[-1] == "resolved" else steps[1:]
        assert steps[0] == "opened"
        assert set(middle) <= {"updated"}
        assert len(middle) <= 3
    assert len({alert.alert_id for alert in told}) == len(told)


def test_alerts_say_where_they_come_from() -> None:
    """An alert carries the summary record's place and timestamp, its model, and its incident's id as key."""
    out = Detect(streams.spec()).process(LOG, 0).sends[("alerts", 0)][0]
    alert = msgspec.json.decode(out.value or b"", type=Alert)
    assert out.key == alert.incident_id.encode()
    assert LOG[alert.position.offset].timestamp == out.timestamp
    assert alert.model is not None
    assert alert.model.candidate == "logistic"


def test_the_state_of_50_features_fits_the_checkpoint() -> None:
    """With 50 numeric features, all of them out at once, the state stays under 60 KiB."""
    names = [f"feature_number_{i}" for i in range(50)]
    pipeline = streams.spec(names)
    records = streams.stream(9000, lambda i: dict.fromkeys(names, 80.0) if i > 7000 else {}, numbers=names)
    detect = Detect(pipeline)
    told = streams.alerts(detect.process(summaries := streams.summaries(pipeline, records), 0))
    assert summaries
    assert told[0].state == "opened"
    assert len(told[0].suspects) == 10
    assert len(detect.standing().data) < 60 * 1024


def test_undecodable_summaries_are_dead_letters() -> None:
    """What is no summary ends in deadletter; the fold goes on."""
    detect = Detect(streams.spec())
    output = detect.process([Rec(streams.SUMMARIES, 0, 0, 0, b"0", b"{"), *LOG[:3]], 0)
    assert len(output.sends[("deadletter", 0)]) == 1
    assert (detect.totals["summaries"], detect.totals["deadletter.undecodable"]) == (3, 1)
