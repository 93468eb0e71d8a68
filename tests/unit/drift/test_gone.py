"""Signals that are no longer there: a feature taken out of the pipeline file, a champion that another one follows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import pytest

from schemas.alerts import Alert
from services.drift.core.cusum import ACCEPTED
from services.drift.core.detect import Detect
from tests.unit.drift import streams
from tests.unit.records import Rec

BLOCK = 200
SHIFTED, TAKEN_OUT = 8_000, 9_800
END = TAKEN_OUT + (ACCEPTED + 2) * BLOCK


def log(shifts: Mapping[str, int], gone: int, end: int) -> list[Rec]:
    """Summaries of a and b, moved from an index on as ``shifts`` says; from ``gone`` on the events have no a."""
    rng = random.Random(4)  # noqa: S311 - a seeded test stream
    events = []
    for i in range(end):
        features = {name: rng.gauss(100, 10) + 15 * (i >= shifts.get(name, end)) for name in "ab"}
        events.append(streams.prediction(features if i < gone else {"b": features["b"]}, i, i))
    return streams.summaries(streams.spec(), events)


GONE = log({"a": SHIFTED}, TAKEN_OUT, END)


def told(detect: Detect, records: Sequence[Rec]) -> list[Alert]:
    return streams.alerts(detect.process(records, 0))


def minute(alert: Alert) -> float:
    return (alert.detected_at - streams.START).total_seconds() / 60


def test_an_incident_of_a_feature_that_is_taken_out_is_accepted() -> None:
    """It stays open for sixty blocks without the feature, then resolves as accepted, and the signal is out no more."""
    detect = Detect(streams.spec())
    opened, resolved = told(detect, GONE)
    assert (opened.state, opened.signal) == ("opened", "mean:a")
    assert (resolved.state, resolved.resolution) == ("resolved", "accepted")
    assert resolved.incident_id == opened.incident_id
    assert minute(resolved) == pytest.approx(TAKEN_OUT + ACCEPTED * BLOCK, abs=BLOCK)
    assert not detect.incidents()
    assert not any(signal.out for signal in detect.signals())


def test_a_feature_that_is_put_back_meets_the_reference_it_had() -> None:
    """Back within its reference it raises nothing; back where it had moved to it is an incident of its own."""
    for shift, states in ((0.0, []), (15.0, ["opened"])):
        records = streams.stream(BLOCK * 15, lambda _, shift=shift: {"a": shift}, seed=9)
        minutes = range(END, END + len(records))
        back = [
            streams.prediction(msgspec.json.decode(record.value or b"")["features"], i, i)
            for i, record in zip(minutes, records, strict=True)
        ]
        detect = Detect(streams.spec())
        told(detect, GONE)
        assert [alert.state for alert in told(detect, streams.summaries(streams.spec(), back))] == states


def test_a_state_without_counts_of_absence_is_read() -> None:
    """A state written before blocks without a signal were counted goes on, and its incident ends all the same."""
    part = (TAKEN_OUT - BLOCK) // BLOCK
    detect = Detect(streams.spec())
    opened = told(detect, GONE[:part])
    state = msgspec.json.decode(detect.standing().data)
    for source in state["sources"].values():
        for cusum in source["watch"]["statistics"].values():
            assert cusum.pop() == 0
    older = Detect(streams.spec())
    older.restore(msgspec.json.encode(state), detect.totals)
    assert older.standing() == detect.standing()
    assert opened + told(older, GONE[part:]) == told(Detect(streams.spec()), GONE)


@pytest.mark.parametrize("blocks", [1, ACCEPTED - 1])
def test_a_restart_while_a_signal_is_gone_changes_nothing(blocks: int) -> None:
    """Blocks without a signal are counted on over a restart: the same alerts and the same state."""
    cut = TAKEN_OUT // BLOCK + blocks
    first, second, whole = (Detect(streams.spec()) for _ in range(3))
    before = told(first, GONE[:cut])
    second.restore(first.standing().data, first.totals)
    assert before + told(second, GONE[cut:]) == told(whole, GONE)
    assert second.standing() == whole.standing()


def test_a_feature_that_is_away_for_less_than_sixty_blocks_in_a_row_is_still_out() -> None:
    """Absence is counted anew after every block with the feature: two stretches of forty blocks end nothing."""
    events = streams.stream(SHIFTED + 100 * BLOCK, lambda i: {"a": 15.0} if i >= SHIFTED else {})
    for i, record in enumerate(events):
        if 50 <= i // BLOCK < 90 or 92 <= i // BLOCK < 132:
            value = msgspec.json.decode(record.value or b"")
            del value["features"]["a"]
            events[i] = streams.prediction(value["features"], i, i)
    assert [alert.state for alert in streams.detected(streams.spec(), events)] == ["opened"]


def test_an_incident_goes_on_while_another_signal_is_out() -> None:
    """Of two signals of one incident one is gone for sixty blocks: it resolves only when the other is accepted too."""
    later = SHIFTED + 1000
    detect = Detect(streams.spec())
    records = log({"a": SHIFTED, "b": later}, SHIFTED + 1000, END + 10 * BLOCK)
    part = (SHIFTED + 1000) // BLOCK + ACCEPTED + 2
    before = told(detect, records[:part])
    assert {signal.name for signal in detect.signals() if signal.out} == {"mean:b"}
    assert sum(detect.incidents().values()) == 1
    after = told(detect, records[part:])
    assert {alert.incident_id for alert in before + after} == {before[0].incident_id}
    assert [(alert.state, alert.resolution) for alert in after] == [("resolved", "accepted")]
    assert {suspect.feature for suspect in after[0].suspects} == {"a", "b"}


def test_an_incident_of_a_champion_that_is_followed_by_another_is_accepted() -> None:
    """A champion gets worse and a challenger is promoted: sixty blocks of its losses later the incident is over."""
    rng = random.Random(5)  # noqa: S311 - a seeded test stream
    promoted = SHIFTED + 1600
    records = []
    for i in range(promoted + (ACCEPTED + 2) * BLOCK):
        record = streams.example(i, 0.8, rng.random() < (0.8 if i < SHIFTED or i >= promoted else 0.5))
        if i >= promoted:
            value = msgspec.json.decode(record.value or b"")
            value["model"]["candidate"] = "sgd"
            record = replace(record, value=msgspec.json.encode(value | {"challengers": []}))
        records.append(record)
    detect = Detect(streams.spec())
    alerts = told(detect, streams.summaries(streams.spec(), records))
    assert [(alert.state, alert.resolution) for alert in alerts] == [("opened", None), ("resolved", "accepted")]
    assert alerts[1].signal == "loss:logistic"
    assert not detect.incidents()
