"""The join, rule by rule."""

from __future__ import annotations

import msgspec
import pytest

from schemas import deadletter
from schemas.codec import encode, to_ms
from schemas.examples import Example
from schemas.outcomes import Outcome
from services.domain.records import MAX_VALUE_BYTES, Output
from services.learner.core.join import MOST_OF_ONE_ID, Join
from services.learner.core.join_restore import LedgerError, restore
from services.learner.joining import kept_back
from tests.unit.learner.join_lane import (
    HORIZON,
    LABELS,
    LANE,
    PREDICTIONS,
    Lane,
    assert_balanced,
    at,
    join,
    label,
    made_prediction,
    outcomes,
    prediction,
    remembered,
)
from tests.unit.records import Rec


def states(output: Output) -> list[tuple[str, str, bool | float | None]]:
    return [(told.event_id, told.state, told.label) for told in outcomes(output)]


def examples(output: Output) -> list[Example]:
    return [msgspec.json.decode(out.value or b"", type=Example) for out in output.sends.get(("examples", 0), [])]


def expire(core: Join) -> Output:
    """The labels are read as far as they go."""
    mark = core.expirable()
    assert mark is not None
    return core.expire(mark)


def watermark_at(core: Join, minutes: float, offset: int = 100, stamp: int = 0) -> Output:
    """Three predictions of other ids that move the watermark there."""
    return core.process([prediction(offset + i, f"w{offset + i}", minutes, stamp) for i in range(3)], 0)


def test_labels_of_one_id_wait_up_to_a_bound() -> None:
    """However many different labels come for an id without a prediction, only the last hundred wait, and none is lost."""
    core = join()
    output = core.process([label(i, "a", i / 60, i % 2 == 0) for i in range(MOST_OF_ONE_ID + 20)], 0)
    assert [(told.state, told.label_offset) for told in outcomes(output)] == [("superseded", i) for i in range(20)]
    assert core.totals["waiting"] == MOST_OF_ONE_ID
    assert_balanced(core)
    core.process([prediction(0, "a", 1)], 0)
    assert core.totals["labelled"] == 1
    assert core.totals["superseded"] == MOST_OF_ONE_ID + 19
    assert_balanced(core)


def test_a_label_after_its_prediction_makes_an_outcome_and_an_example() -> None:
    """The example is, byte for byte, the contract's encoding of the prediction as served with its label."""
    core = join()
    core.process([prediction(7, "a", 1, stamp=50)], 0)
    output = core.process([label(3, "a", 4, True, stamp=60)], 0)
    assert outcomes(output) == [Outcome("a", "labelled", True, at(4), 180.0, 7, 3)]
    served = made_prediction("a", at(1))
    expected = Example(
        event_id="a", time=at(1), label_time=at(4), features=served.features, encoded=served.encoded, label=True,
        score=served.score, model=served.model, challengers=served.challengers, spec=served.spec,
    )  # fmt: skip
    (out,) = output.sends["examples", 0]
    assert (out.key, out.value, out.timestamp) == (b"a", encode(expected), 60)
    assert_balanced(core)


def test_a_label_before_its_prediction_waits_for_it() -> None:
    """The prediction completes the pair: the same ledger, stamped with the prediction's arrival."""
    core = join()
    assert core.process([label(3, "a", 4, True, stamp=60)], 0).sends == {}
    assert core.totals["waiting"] == 1
    output = core.process([prediction(7, "a", 1, stamp=70)], 0)
    assert outcomes(output) == [Outcome("a", "labelled", True, at(4), 180.0, 7, 3)]
    assert output.sends["examples", 0][0].timestamp == 70
    assert core.totals["waiting"] == core.totals["pending"] == 0


def test_after_its_label_a_prediction_takes_equal_ones_as_duplicates_and_others_as_corrections() -> None:
    """A correction is a further example that names the label it replaces."""
    core = join()
    output = core.process(
        [prediction(0, "a", 1), *(label(i, "a", 2 + i, value) for i, value in enumerate([True, True, False, False]))], 0
    )
    assert [state for _, state, _ in states(output)] == ["labelled", "duplicate", "corrected", "duplicate"]
    assert [(example.label, example.corrects) for example in examples(output)] == [(True, None), (False, True)]


def test_of_waiting_labels_the_last_value_counts() -> None:
    """An equal waiting label is a duplicate at once; another is superseded when the prediction comes."""
    core = join()
    first = core.process([label(0, "a", 2, True), label(1, "a", 3, True), label(2, "a", 4, False)], 0)
    assert states(first) == [("a", "duplicate", True)]
    output = core.process([prediction(0, "a", 1)], 0)
    assert states(output) == [("a", "superseded", True), ("a", "labelled", False)]
    assert [example.label for example in examples(output)] == [False]


def test_a_waiting_label_that_is_not_in_time_does_not_displace_one_that_is() -> None:
    """The earlier label answers the prediction, the one after the horizon is an orphan."""
    core = join()
    core.process([label(0, "a", 2, True), label(1, "a", 30, False)], 0)
    output = core.process([prediction(0, "a", 1)], 0)
    assert states(output) == [("a", "labelled", True), ("a", "orphan", False)]
    assert_balanced(core)


def test_of_equal_waiting_labels_the_earlier_time_stays() -> None:
    """A label that is read later, but is earlier by its own time, may be the only one in time."""
    core = join()
    core.process([label(0, "a", 30, True), label(1, "a", 2, True)], 0)
    output = core.process([prediction(0, "a", 1)], 0)
    assert [(told.state, told.label_offset) for told in outcomes(output)] == [("labelled", 1)]


@pytest.mark.parametrize(("minutes", "state"), [(1 + HORIZON, "labelled"), (1 + HORIZON + 0.001, "orphan")])
def test_a_label_is_in_time_up_to_the_horizon_by_its_own_time(minutes: float, state: str) -> None:
    """Event time + horizon is the last moment, wherever the watermark stands."""
    core = join()
    core.process([prediction(0, "a", 1)], 0)
    watermark_at(core, 50)
    assert [told for _, told, _ in states(core.process([label(0, "a", minutes)], 0))] == [state]


def test_one_or_two_wild_event_times_move_nothing() -> None:
    """The watermark is the third-greatest event time, and a repeat does not count."""
    core = join()
    core.process([prediction(0, "a", 1), prediction(1, "b", 500), prediction(2, "c", 600), prediction(3, "c", 600)], 0)
    assert core.standing().watermark == at(1)
    assert core.totals["repeats"] == 1


def test_under_the_wall_clock_no_prediction_counts_for_more_than_its_arrival() -> None:
    """An event time ahead of the Kafka timestamp moves the watermark to that timestamp at most."""
    core = join(clock="wall")
    watermark_at(core, 500, stamp=to_ms(at(3)))
    assert core.standing().watermark == at(3)


def test_a_prediction_expires_in_two_steps() -> None:
    """Not at the deadline itself, not without the lane's word, and not what passed its deadline after the mark."""
    core = join()
    core.process([prediction(0, "a", 0), prediction(1, "b", 5)], 0)
    watermark_at(core, HORIZON)
    assert core.expirable() is None
    assert watermark_at(core, HORIZON + 1, offset=200).sends == {}
    mark = core.expirable()
    assert mark is not None
    watermark_at(core, HORIZON + 6, offset=300, stamp=77)
    output = core.expire(mark)
    assert outcomes(output) == [Outcome("a", "expired", None, at(HORIZON), None, 0, None)]
    assert output.sends["outcomes", LANE][0].timestamp == 77
    assert core.expirable() is not None
    assert_balanced(core)


def test_a_label_in_time_is_used_until_its_prediction_has_expired() -> None:
    """What is read between the deadline's passing and the expiry still counts."""
    core = join()
    core.process([prediction(0, "a", 0)], 0)
    watermark_at(core, HORIZON + 1)
    assert core.expirable() is not None
    assert states(core.process([label(0, "a", 3)], 0)) == [("a", "labelled", True)]
    assert expire(core).sends == {}
    assert core.expirable() is None


@pytest.mark.parametrize("spill_after", [1, 1000])
def test_expiry_goes_in_steps_of_its_limit(spill_after: int) -> None:
    """What the limit leaves is still expirable, and closed ones are remembered until the last step; a restart between
    changes nothing.
    """
    lane = Lane([prediction(i, f"a{i}", 0) for i in range(6)], [label(0, "a0", 1)], spill_after=spill_after)
    lane.predictions += [prediction(i, f"w{i}", HORIZON + 1) for i in range(6, 9)]
    lane.process([*lane.predictions, *lane.labels])
    told = []
    while (mark := lane.core.expirable()) is not None:
        output = lane.core.expire(mark, limit=2)
        lane.commit(output)
        told.append((len(outcomes(output)), b"a0" in lane.core.ledger.entries))
        before = remembered(lane.core)
        lane.restart()
        assert remembered(lane.core) == before
    assert told == [(2, True), (2, True), (1, False)]


def test_a_default_label_is_learned_at_the_deadline() -> None:
    """An expiry under ``on_expiry`` is an example with that label, known at the deadline."""
    core = join(on_expiry=False)
    core.process([prediction(0, "a", 0)], 0)
    watermark_at(core, HORIZON + 1)
    output = expire(core)
    assert states(output) == [("a", "expired", False)]
    assert [(example.label, example.label_time) for example in examples(output)] == [(False, at(HORIZON))]
    assert core.totals["expired_default"] == core.totals["expired"] == 1


def test_labels_without_a_prediction_become_orphans_behind_the_watermark() -> None:
    """At once if the watermark has passed their time + horizon, else when it does; the last of a chain is the orphan."""
    core = join()
    core.process([label(0, "x", 0, True), label(1, "x", 1, False)], 0)
    output = watermark_at(core, HORIZON + 2, stamp=9)
    assert outcomes(output) == [
        Outcome("x", "superseded", True, at(0), None, None, 0),
        Outcome("x", "orphan", False, at(1), None, None, 1),
    ]
    assert [out.timestamp for out in output.sends["outcomes", LANE]] == [9, 9]
    assert states(core.process([label(2, "x", 1)], 0)) == [("x", "orphan", True)]
    assert_balanced(core)


def test_a_closed_prediction_takes_corrections_until_the_labels_are_read() -> None:
    """It is forgotten when a pending one expires. A label after that is one without a prediction, and a prediction of
    that id is a new one.
    """
    core = join()
    core.process([prediction(0, "a", 0), label(0, "a", 1)], 0)
    watermark_at(core, HORIZON + 1)
    assert states(core.process([label(1, "a", 5, False)], 0)) == [("a", "corrected", False)]
    assert expire(core).sends == {}
    core.process([label(2, "a", 6)], 0)
    assert core.totals["waiting"] == 1
    output = core.process([prediction(1, "a", 3)], 0)
    assert [(told.state, told.prediction_offset) for told in outcomes(output)] == [("labelled", 1)]
    assert core.totals["repeats"] == 0


def test_a_restart_brings_nothing_back_that_was_forgotten() -> None:
    """Its prediction is read again for an older one's sake, and its outcome does not tell that it was forgotten."""
    lane = Lane([prediction(0, "b", 5), prediction(1, "a", 0)], [label(0, "a", 1)])
    lane.predictions += [prediction(i, f"w{i}", HORIZON + 1) for i in range(2, 5)]
    lane.process([*lane.predictions, *lane.labels])
    lane.commit(expire(lane.core))
    lane.restart()
    assert lane.checkpoint.low_water[PREDICTIONS] == 0
    assert lane.core.ledger.entries.keys() == {b"b", b"w2", b"w3", b"w4"}


def test_a_label_answers_the_oldest_prediction_it_is_in_time_for() -> None:
    """A prediction of the same id past the first one's deadline does not take its label."""
    core = join()
    core.process([prediction(0, "a", 0)], 0)
    watermark_at(core, HORIZON + 1)
    core.process([prediction(1, "a", HORIZON + 2)], 0)
    output = core.process([label(0, "a", 1), label(1, "a", HORIZON + 3)], 0)
    assert [told.prediction_offset for told in outcomes(output)] == [0, 1]
    assert_balanced(core)


def test_a_prediction_that_may_still_expire_outlives_a_later_one_of_its_id() -> None:
    """Forgetting the newer one, closed, leaves the older one to its own label."""
    core = join()
    core.process([prediction(0, "a", 0)], 0)
    watermark_at(core, HORIZON + 1)
    core.process([prediction(1, "a", HORIZON + 2), label(0, "a", HORIZON + 3)], 0)
    watermark_at(core, 3 * HORIZON, offset=200)
    output = core.process([label(1, "a", 1)], 0)
    assert [(told.state, told.prediction_offset) for told in outcomes(output)] == [("labelled", 0)]
    assert_balanced(core)


def test_what_was_just_read_is_not_moved_to_the_state_topic() -> None:
    """However far the outcomes have gone on while an input was idle, its next record is read back from its own log."""
    core = join(spill_after=100)
    core.outcomes_position = 1_000
    assert core.process([label(0, "a", 1)], 0).sends == {}
    assert core.standing().low_water == {PREDICTIONS: 0, LABELS: 0, "p.outcomes": 1_000}
    core.outcomes_position = 1_200
    assert [stream for stream, _ in watermark_at(core, 5).sends] == ["state.learner"]
    assert core.standing().low_water[LABELS] == 1


def test_what_has_become_old_moves_to_the_state_topic_without_a_record() -> None:
    """A second old, a prediction, a label and their outcomes are read back no more, and a restart needs no log."""
    core = join(keep_ms=1_000)
    core.process([prediction(0, "a", 0, stamp=500), label(0, "x", 0, stamp=500)], 600)
    core.outcomes_position = 7
    assert core.rest(1_500).sends == {}
    assert core.standing().low_water == {PREDICTIONS: 0, LABELS: 0, "p.outcomes": 0}
    output = core.rest(1_501)
    assert [out.key for out in output.sends["state.learner", LANE]] == [b"join/3/a", b"join/3/x"]
    assert core.standing().low_water == {PREDICTIONS: 1, LABELS: 1, "p.outcomes": 7}
    again = join(keep_ms=1_000)
    spilled = [Rec("p.state.learner", LANE, 0, 0, out.key, out.value) for out in output.sends["state.learner", LANE]]
    restore(again, core.standing().data, core.totals, predictions=[], labels=[], outcomes=[], spilled=spilled)
    assert remembered(again) == remembered(core)


@pytest.mark.parametrize(
    ("kept", "retention", "keeps"),
    [
        ([37, 37, 37], 7, 30),
        ([8, 8, 8], 7, 4),
        ([30, 37, -1], 7, 23),
        ([-1, -1, -1], 7, None),
    ],
)
def test_how_old_a_record_gets_before_the_state_topic_takes_over(
    kept: list[int], retention: int, keeps: int | None
) -> None:
    """What is left of the log's time then is the retention of raw records, or half of the log's time."""
    assert kept_back(kept, retention) == keeps


def test_labels_are_blocked_at_the_bound_until_some_are_orphans() -> None:
    """``blocked`` is true exactly while max_waiting labels or more wait."""
    core = join(max_waiting=2)
    core.process([label(0, "x", 0)], 0)
    assert not core.blocked()
    core.process([label(1, "y", 0)], 0)
    assert core.blocked()
    watermark_at(core, HORIZON + 1)
    assert not core.blocked()


def test_regression_labels_are_numbers() -> None:
    """A number is a label of a regression and a dead letter of a binary task, a boolean the other way round."""
    for task, good, bad in (("regression", 2.5, True), ("binary", True, 2.5)):
        core = join(task=task)
        core.process([prediction(0, "a", 0)], 0)
        output = core.process([label(0, "a", 1, bad), label(1, "a", 1, good)], 0)
        assert states(output) == [("a", "labelled", good)]
        assert core.totals["deadletter.labels.invalid"] == 1


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        (b"a", b"{", "malformed"),
        (b"a", b'{"z":' + b"[" * 10_000, "malformed"),
        (b"a", b'{"event_id":"a\xff"}', "malformed"),
        (b"a", b"{}", "invalid"),
        (b"a", b'{"event_id":"a","time":"2024-01-01T00:00:00","label":true}', "invalid"),
        (b"b", label(0, "a", 1).value, "wrong_key"),
        (None, label(0, "a", 1).value, "empty"),
        (b"a", None, "empty"),
        (b"a", b'{"event_id":"a","time":"9999-12-31T23:59:59Z","label":true}', "time_range"),
    ],
)
def test_a_label_that_cannot_be_used_is_a_dead_letter(key: bytes | None, value: bytes | None, rule: str) -> None:
    """It keeps its bytes, says its stage and rule, and is counted; the account balances."""
    core = join()
    output = core.process([Rec(LABELS, LANE, 0, 5, key, value)], 0)
    (out,) = output.sends["deadletter", LANE]
    headers = dict(out.headers)
    assert (out.key, out.value) == (key, value)
    assert (headers[deadletter.STAGE], headers[deadletter.RULE]) == (b"join", rule.encode())
    assert core.totals[f"deadletter.labels.{rule}"] == 1
    assert_balanced(core)


def test_a_prediction_without_all_that_an_example_needs_is_a_dead_letter() -> None:
    """Nothing is remembered that could fail when its label comes."""
    core = join()
    core.process([Rec(PREDICTIONS, LANE, 0, 5, b"a", b'{"event_id":"a","time":"2024-01-01T00:00:00Z"}')], 0)
    assert core.totals["deadletter.predictions.invalid"] == 1
    assert core.totals["pending"] == 0
    assert_balanced(core)


def test_the_largest_prediction_that_is_taken_makes_an_example_that_fits() -> None:
    """One byte more is a dead letter ``output_too_large``, so no label ever meets an example that cannot be sent."""
    core = join(task="regression")
    served = made_prediction("a", at(0))
    room = MAX_VALUE_BYTES - 512 - 1 - len(encode(served))
    served.spec += "s" * room
    long_label = -1.2345678901234567e-300
    core.process([Rec(PREDICTIONS, LANE, 0, 0, b"a", encode(served))], 0)
    output = core.process([label(0, "a", 1, -long_label), label(1, "a", 1.0000001, long_label)], 0)
    assert len(examples(output)) == 2
    assert all(len(out.value or b"") + 1 <= MAX_VALUE_BYTES for out in output.sends["examples", 0])
    served.event_id, served.spec = "b", served.spec + "s"
    core.process([Rec(PREDICTIONS, LANE, 1, 0, b"b", encode(served))], 0)
    assert core.totals["deadletter.predictions.output_too_large"] == 1


@pytest.mark.parametrize("spill_after", [1, 1000])
def test_a_changed_horizon_goes_for_what_already_waits(spill_after: int) -> None:
    """Labels that waited keep their time, and predictions expire at the new deadline, in the state topic or not."""
    lane = Lane(
        [prediction(i, f"p{i}", 0) for i in range(5)], [label(i, f"l{i}", 1) for i in range(5)], spill_after=spill_after
    )
    for record in (*lane.predictions, *lane.labels):
        lane.process([record])
    assert bool(lane.state) is (spill_after == 1)
    lane.options = {"horizon": f"{3 * HORIZON}m"}
    lane.restart()
    lane.predictions += [prediction(5, "l0", 0)]
    lane.labels += [label(5, "p0", 2 * HORIZON), label(6, "p1", 3 * HORIZON + 1)]
    told = outcomes(lane.process([lane.predictions[5], *lane.labels[5:]]))
    assert [(one.event_id, one.state, one.time, one.label_delay_s) for one in told] == [
        ("l0", "labelled", at(1), 60),
        ("p0", "labelled", at(2 * HORIZON), 2 * HORIZON * 60),
        ("p1", "orphan", at(3 * HORIZON + 1), (3 * HORIZON + 1) * 60),
    ]
    watermark_at(lane.core, 3 * HORIZON)
    assert lane.core.expirable() is None
    watermark_at(lane.core, 3 * HORIZON + 0.1, offset=200)
    told = outcomes(expire(lane.core))
    assert [(one.event_id, one.state, one.time) for one in told] == [
        (f"p{i}", "expired", at(3 * HORIZON)) for i in range(1, 5)
    ]


def test_a_log_that_lost_what_is_remembered_is_refused() -> None:
    """A restore that finds less than the checkpoint counts says so instead of forgetting predictions."""
    lane = Lane([prediction(0, "a", 0)], [])
    lane.fetch(0, 1)
    lane.work(1)
    with pytest.raises(LedgerError, match="retention"):
        restore(lane.new(), lane.checkpoint.data, lane.totals, predictions=[], labels=[], outcomes=[])


def test_the_checkpoint_is_small() -> None:
    """The checkpoint does not grow with what is remembered."""
    core = join()
    core.process([prediction(i, f"id{i}", i * 0.001) for i in range(2000)], 0)
    assert len(core.standing().data) < 1000
