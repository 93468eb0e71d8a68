from __future__ import annotations

from itertools import pairwise
from math import log
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.summaries import Summary
from services.domain.records import Out, Output
from services.drift.core.summarise import log_loss
from tests.unit.drift import streams
from tests.unit.records import Rec

VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.floats(-1e3, 1e3), st.just(1e300), st.just(-1e99), st.text(max_size=3), st.booleans(), st.integers()
)
FEATURES = st.dictionaries(st.sampled_from(["a", "b", "kind", "unknown"]), VALUES)


def sent(output: Output) -> list[Out]:
    return output.sends.get(("summaries", 0), [])


def decoded(output: Output) -> list[Summary]:
    return [msgspec.json.decode(out.value or b"", type=Summary) for out in sent(output)]


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return value is not None and (not isinstance(value, float) or abs(value) < float("inf"))


def test_moments_are_those_of_the_values() -> None:
    """A summary's counts, missing values and sums are those of the part's records, keyed by lane."""
    records = [
        streams.prediction({"a": float(i % 4), "b": None, "kind": "x" if i % 2 else None}, i, i) for i in range(400)
    ]
    output = streams.core(streams.spec()).process(records, 0)
    first, second = decoded(output)
    assert [out.key for out in sent(output)] == [b"0", b"0"]
    assert sent(output)[0].timestamp == 1199
    assert (first.events, first.first_offset, first.last_offset, second.first_offset) == (200, 0, 199, 200)
    a = second.features["a"]
    assert (a.count, a.missing, a.clipped_count) == (200, 0, 200)
    assert a.sum == pytest.approx(300)
    assert a.clipped + 200 * a.centre == pytest.approx(300)
    assert (second.features["b"].count, second.features["b"].missing) == (0, 200)
    assert (second.features["kind"].count, second.features["kind"].missing) == (100, 100)
    assert second.score.sum == pytest.approx(60)
    assert (second.end - second.watermark).total_seconds() == 120


def test_one_wild_value_moves_the_clipped_mean_by_little() -> None:
    """A value of 1e90 moves the next part's clipped mean by at most 4 standard deviations over its events."""
    records = [streams.prediction({"a": float(i % 3)}, i, i) for i in range(400)]
    records[250] = streams.prediction({"a": 1e90}, 250, 250)
    second = decoded(streams.core(streams.spec()).process(records, 0))[1].features["a"]
    mean = second.centre + second.clipped / second.clipped_count
    assert abs(mean - 1.0) <= 4 * second.scale / 200 + 0.02
    assert second.sum / second.count < 2


def test_a_feature_the_event_never_had_is_not_missing() -> None:
    """A prediction made before a feature was added to the pipeline does not count as one where it is missing."""
    records = [streams.prediction({"a": 1.0}, i, i) for i in range(200)]
    features = decoded(streams.core(streams.spec()).process(records, 0))[0].features
    assert (features["b"].count, features["b"].missing) == (0, 0)
    assert (features["kind"].count, features["kind"].missing) == (0, 0)


def test_parts_end_for_time() -> None:
    """A part ends before a record that lies the longest block's time after its first one."""
    records = [streams.prediction({"a": 1.0}, i, i if i < 10 else 400 + i) for i in range(20)]
    first = decoded(streams.core(streams.spec()).process(records, 0))
    assert [(part.events, part.last_offset) for part in first] == [(10, 9)]


def test_losses_are_of_scores_made_before_the_label() -> None:
    """Log loss by candidate is summed over examples; corrections and control records are passed over."""
    records = [streams.control(0)] + [streams.example(i, 0.25, i % 2 == 0) for i in range(1, 201)]
    records.insert(5, streams.example(999, 0.9, True, corrects=False))
    lane = streams.core(streams.spec())
    [part] = decoded(lane.process(records, 0))
    assert (part.source, part.events, part.features) == ("examples", 200, {})
    assert part.loss["logistic"].sum == pytest.approx(-100 * log(0.25) - 100 * log(0.75))
    assert part.loss["sgd"].sum == pytest.approx(200 * log(2))
    assert lane.totals["examples"] == 201


def test_squared_error_for_regression() -> None:
    """For regression the loss is the squared error of the estimate."""
    records = [streams.example(i, 2.0, 5.0) for i in range(200)]
    [part] = decoded(streams.core(streams.spec(task="regression")).process(records, 0))
    assert part.loss["logistic"].sum == pytest.approx(1800)


def test_an_absurd_estimate_is_passed_over() -> None:
    """An error too large to square counts as missing, not as infinity."""
    records = [streams.example(i, 1e200 if i == 3 else 1.0, 1.0) for i in range(200)]
    [part] = decoded(streams.core(streams.spec(task="regression")).process(records, 0))
    assert (part.loss["logistic"].missing, part.loss["logistic"].sum) == (1, 0.0)


def test_log_loss_is_finite_at_the_ends() -> None:
    """A score of 0 or 1 on the wrong side costs a finite loss."""
    assert log_loss(0.0, 1.0) == pytest.approx(34.5, abs=0.1)
    assert log_loss(1.0, 1.0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"null",
        b'{"score": 1e999}',
        b'{"kind": "example", "time": "2024-01-01T00:00:00"}',
    ],
)
def test_undecodable_records_are_dead_letters(value: bytes | None) -> None:
    """Whatever cannot be read, of either input, ends in deadletter with its bytes and is counted; the lane goes on."""
    lane = streams.core(streams.spec())
    output = lane.process([Rec(topic, 0, 0, 0, b"k", value) for topic in (streams.PREDICTIONS, streams.EXAMPLES)], 0)
    assert [out.value for out in output.sends[("deadletter", 0)]] == [value, value]
    assert lane.totals["deadletter.undecodable"] == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FEATURES, st.integers(0, 600)), max_size=120), st.lists(st.integers(0, 120), max_size=4))
def test_batches_and_restarts_change_nothing(events: list[tuple[dict[str, Any], int]], cuts: list[int]) -> None:
    """Splitting a log into batches anywhere, with a restart at each split, gives the same output and the same state."""
    pipeline = streams.spec(partitions=16)
    records = [streams.prediction(features, i, minute) for i, (features, minute) in enumerate(events)]
    records += [streams.example(i, 0.4, i % 3 == 0) for i in range(30)]
    whole = streams.core(pipeline)
    expected = sent(whole.process(records, 0))
    got: list[Out] = []
    data, totals = None, dict(whole.totals)
    bounds = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    for begin, end in pairwise(bounds):
        lane = streams.core(pipeline)
        if data is not None:
            lane.restore(data, totals)
        got += sent(lane.process(records[begin:end], 0))
        data, totals = lane.standing().data, lane.totals
    assert sorted(out.value or b"" for out in got) == sorted(out.value or b"" for out in expected)
    assert data == whole.standing().data
    assert totals == whole.totals


@settings(max_examples=60, deadline=None)
@given(st.lists(FEATURES, min_size=20, max_size=60))
def test_only_finite_numbers_leave(events: list[dict[str, Any]]) -> None:
    """Absurd values, wrong types and missing ones never put NaN, infinity or null into a summary or the state."""
    lane = streams.core(streams.spec(partitions=16))
    output = lane.process([streams.prediction(features, i, i) for i, features in enumerate(events)], 0)
    for part in decoded(output):
        assert finite(msgspec.to_builtins([part.features, part.loss, part.score]))
    state = msgspec.json.decode(lane.standing().data)
    assert finite([state["standards"], state["sums"]])


def test_the_state_of_200_features_fits_the_checkpoint() -> None:
    """With 200 features, 199 of them numbers, the state stays under 60 KiB, before and after features have started."""
    names = [f"feature_number_{i}" for i in range(199)]
    lane = streams.core(streams.spec(names))
    for events in (8, 392):
        records = streams.stream(events, lambda _: {}, numbers=names)
        lane.process(records, 0)
        assert len(lane.standing().data) < 60 * 1024
