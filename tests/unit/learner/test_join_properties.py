"""The label ledger, whatever happens around it."""

from __future__ import annotations

from datetime import datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outcomes import Outcome
from services.learner.core.ledger import Lapsed
from services.learner.core.values import MOST_IN_MEMORY
from tests.unit.learner.join_lane import (
    HORIZON,
    LABELS,
    PREDICTIONS,
    Lane,
    assert_balanced,
    at,
    label,
    prediction,
    remembered,
)
from tests.unit.records import Rec

_IDS = st.sampled_from("abcdefg")
_JITTER = st.integers(0, 4)
_PREDICTION = st.tuples(_IDS, st.integers(-12, 6), _JITTER, st.integers(0, 15))
_LABEL = st.tuples(_IDS, st.integers(-12, 12), st.booleans(), _JITTER, st.integers(0, 15))
_TURN = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 8), st.booleans(), st.integers(0, 20))
_Turns = list[tuple[int, int, int, bool, int]]


def _spoil(record: Rec, dirt: int) -> Rec:
    """Now and then a record that cannot be decoded."""
    return (
        Rec(record.topic, record.partition, record.offset, record.timestamp, record.key, b"{") if not dirt else record
    )


@st.composite
def _logs(draw: st.DrawFn) -> tuple[list[Rec], list[Rec]]:
    """Times and stamps grow by two a record, roughly; the few ids come again, so that horizons end in between."""
    predictions = draw(st.lists(_PREDICTION, min_size=5, max_size=30))
    labels = draw(st.lists(_LABEL, max_size=25))
    return (
        [
            _spoil(prediction(i, key, 2 * i + time, 2 * i + stamp), dirt)
            for i, (key, time, stamp, dirt) in enumerate(predictions)
        ],
        [
            _spoil(label(i, key, 2 * i + time, value, 2 * i + stamp), dirt)
            for i, (key, time, value, stamp, dirt) in enumerate(labels)
        ],
    )


def _run(lane: Lane, turns: _Turns) -> None:
    """Go through the logs to their end, turn by turn: records to fetch of each input, batch limit, whether to restart
    before, how much time passes (ms).
    """
    for predictions, labels, limit, restart, elapsed in turns:
        lane.now += elapsed
        if restart:
            before = remembered(lane.core)
            lane.restart()
            assert remembered(lane.core) == before
        lane.fetch(0, predictions)
        lane.fetch(1, labels)
        lane.work(limit)
        assert_balanced(lane.core)
        lane.commit(lane.core.rest(lane.now))
        for log, (topic, position) in zip(lane.logs, lane.read.items(), strict=True):
            low = lane.checkpoint.low_water[topic]
            assert low >= position - lane.spill_after
            if lane.keep_ms is not None and low < position:
                youngest_at_or_before = max(record.timestamp for record in log[: low + 1])
                assert youngest_at_or_before >= lane.now - lane.keep_ms
    lane.finish()
    assert_balanced(lane.core)


@settings(max_examples=200, deadline=None)
@given(
    logs=_logs(),
    turns=st.lists(_TURN, min_size=5, max_size=25),
    spill_after=st.sampled_from([1, 3, 8, 1000]),
    keep_ms=st.sampled_from([None, 1, 10, 30]),
    on_expiry=st.sampled_from(["drop", True]),
    most_in_memory=st.sampled_from([0, 3, MOST_IN_MEMORY]),
)
def test_the_ledger_is_the_logs_alone(
    *,
    logs: tuple[list[Rec], list[Rec]],
    turns: _Turns,
    spill_after: int,
    keep_ms: int | None,
    on_expiry: str | bool,
    most_in_memory: int,
) -> None:
    """Batches, restarts, fetches ahead, time, spilling and the disk change no outcome, no example, no order within an id, no total;
    a restored join remembers exactly what the stopped one did; no input is read back further than the bound, nor where
    Kafka, which deletes a log from its beginning, may have deleted what is too old.
    """
    options = {"on_expiry": on_expiry}
    lane, expected = (
        Lane(*logs, spill_after=spill_after, keep_ms=keep_ms, most_in_memory=most_in_memory, options=options),
        Lane(*logs, options=options),
    )
    _run(lane, turns)
    expected.finish()
    assert lane.ledger() == expected.ledger()
    assert lane.core.totals == expected.core.totals
    assert lane.deadletters == expected.deadletters


@settings(max_examples=100, deadline=None)
@given(
    logs=_logs(),
    turns=st.lists(_TURN, max_size=25),
    spill_after=st.sampled_from([3, 1000]),
    on_expiry=st.sampled_from(["drop", True]),
)
def test_what_lies_on_disk_shows_in_no_output(
    logs: tuple[list[Rec], list[Rec]], turns: _Turns, spill_after: int, on_expiry: str | bool
) -> None:
    """However few predictions lie in memory, every record that the lane writes is the same, byte for byte, in the same
    order, checkpoint and state topic included, with restarts in between; and the disk holds nothing else.
    """
    written = []
    for most_in_memory in (0, 3, MOST_IN_MEMORY):
        lane = Lane(*logs, spill_after=spill_after, most_in_memory=most_in_memory, options={"on_expiry": on_expiry})
        _run(lane, turns)
        written.append((lane.outcomes, lane.examples, lane.deadletters, lane.state, lane.checkpoint, lane.totals))
        chains = remembered(lane.core)["entries"].values()
        stored = lane.core.ledger.values.stored
        assert lane.disk._connection.execute("SELECT count(*) FROM kept").fetchone() == (stored,)
        assert sum(map(len, chains)) - stored <= most_in_memory
    assert written[0] == written[1] == written[2]


@settings(max_examples=100, deadline=None)
@given(logs=_logs(), turns=st.lists(_TURN, max_size=25), spill_after=st.sampled_from([1, 3, 8]))
def test_the_state_topic_holds_what_is_remembered_and_nothing_else(
    logs: tuple[list[Rec], list[Rec]], turns: _Turns, spill_after: int
) -> None:
    """An id of which nothing is remembered has no record in the state topic but a tombstone."""
    lane = Lane(*logs, spill_after=spill_after)
    _run(lane, turns)
    ledger = lane.core.ledger
    assert {key.split(b"/", 2)[2] for key in lane.state} <= {*ledger.entries, *ledger.waiting, *ledger.repeats}


@settings(max_examples=50, deadline=None)
@given(logs=_logs(), turns=st.lists(_TURN, min_size=10, max_size=25))
def test_outcomes_are_read_back_no_further_than_the_bound(logs: tuple[list[Rec], list[Rec]], turns: _Turns) -> None:
    """However few records an input has, its oldest one does not hold the outcomes' low water back."""
    lane = Lane(*logs, spill_after=4)
    for predictions, labels, limit, *_ in turns:
        lane.fetch(0, predictions)
        lane.fetch(1, labels)
        before = lane.core.outcomes_position
        lane.work(limit)
        assert lane.checkpoint.low_water["p.outcomes"] >= before - 4


def _time(record: Rec) -> datetime:
    return datetime.fromisoformat(msgspec.json.decode(record.value or b"")["time"])


class _Watch:
    """What the barrier promises, followed from outside: the watermark, and the labels there when it passed a deadline."""

    def __init__(self) -> None:
        self.times: list[datetime] = []
        self.known: dict[int, Rec] = {}
        self.passed: dict[int, int] = {}

    def read(self, record: Rec, time: datetime, labels: int) -> None:
        self.times = sorted([*self.times, time])[-3:]
        self.known[record.offset] = record
        for offset, other in self.known.items():
            if len(self.times) == 3 and self.times[0] > _time(other) + (at(HORIZON) - at(0)):
                self.passed.setdefault(offset, labels)


_GROWTH = st.lists(
    st.one_of(
        st.tuples(st.just("prediction"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("label"), st.integers(0, 50), st.integers(0, 12)),
        st.tuples(st.just("read predictions"), st.integers(1, 8), st.just(0)),
        st.tuples(st.just("read labels"), st.integers(1, 8), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(growth=_GROWTH)
def test_nothing_expires_whose_label_lay_in_the_log(growth: list[tuple[str, int, int]]) -> None:
    """However far either input runs ahead while both grow, an expired prediction had no label in time in labels.clean
    when the prediction that passed its deadline was read (but for labels that were orphans before it came).
    """
    lane, watch = Lane(), _Watch()
    barrier: tuple[Lapsed, int] | None = None
    orphans_before: dict[int, set[int | None]] = {}
    for verb, number, which in growth:
        if verb == "prediction":
            lane.predictions.append(prediction(len(lane.predictions), f"id{len(lane.predictions)}", number))
        elif verb == "label":
            lane.labels.append(label(len(lane.labels), f"id{which}", number, bool(number % 2)))
        elif verb == "read labels":
            start = lane.core.ledger.labels.position
            lane.process(lane.labels[start : start + number])
        elif verb == "read predictions":
            start = lane.core.ledger.predictions.position
            for record in lane.predictions[start : start + number]:
                orphans_before[record.offset] = {one.label_offset for one in _decoded(lane) if one.state == "orphan"}
                watch.read(record, _time(record), len(lane.labels))
                lane.process([record])
        else:
            if barrier is None and (mark := lane.core.expirable()) is not None:
                barrier = (mark, len(lane.labels))
            if barrier is not None and lane.core.ledger.labels.position >= barrier[1]:
                lane.commit(lane.core.expire(barrier[0]))
                barrier = None
        assert_balanced(lane.core)
    for told in _decoded(lane):
        if told.state == "expired" and told.prediction_offset is not None:
            lay_there = lane.labels[: watch.passed[told.prediction_offset]]
            missed = [
                record.offset
                for record in lay_there
                if record.key == told.event_id.encode()
                and _time(record) <= told.time
                and record.offset not in orphans_before[told.prediction_offset]
            ]
            assert missed == []


@settings(max_examples=200)
@given(
    labels=st.lists(st.tuples(st.integers(0, 3), st.integers(0, HORIZON), st.booleans()), max_size=20),
    reads=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6), st.booleans()), max_size=15),
    spill_after=st.sampled_from([1, 3, 1000]),
)
def test_what_is_believed_of_an_event_does_not_depend_on_which_input_runs_ahead(
    labels: list[tuple[int, int, bool]], reads: list[tuple[int, int, bool]], spill_after: int
) -> None:
    """While both logs grow, either may be read far ahead of the other, with restarts anywhere. A label may so be one that
    was superseded or corrected, but each prediction is labelled once, and what was learned of it last is its last label.
    """
    logs = (
        [prediction(number, f"id{number}", 0) for number in range(3)],
        [label(number, f"id{which}", minutes, value) for number, (which, minutes, value) in enumerate(labels)],
    )
    lane = Lane(*logs, spill_after=spill_after)
    for rank, count, restart in [*reads, (0, len(logs[0]), False), (1, len(logs[1]), False)]:
        if restart:
            lane.restart()
        start = list(lane.read.values())[rank]
        lane.process(logs[rank][start : start + count])
        assert_balanced(lane.core)
    last = {f"id{which}".encode(): value for which, _, value in labels if which < len(logs[0])}
    assert {key: msgspec.json.decode(value or b"")["label"] for key, value in lane.examples} == last
    assert sorted(one.event_id.encode() for one in _decoded(lane) if one.state == "labelled") == sorted(last)
    assert lane.core.totals["orphan"] == 0


_DELAYED = st.tuples(st.integers(0, 15), st.integers(0, HORIZON + 3), st.booleans())
_STEP = st.tuples(st.sampled_from(["predictions", "labels", "sent", "expire", "restart"]), st.integers(1, 8))


@settings(max_examples=200)
@given(
    jitter=st.lists(st.integers(0, HORIZON - 1), min_size=12, max_size=16),
    delayed=st.lists(_DELAYED, max_size=24),
    steps=st.lists(_STEP, max_size=40),
    spill_after=st.sampled_from([1, 3, 1000]),
)
def test_predictions_that_run_ahead_over_the_horizon_lose_no_label(
    jitter: list[int], delayed: list[tuple[int, int, bool]], steps: list[tuple[str, int]], spill_after: int
) -> None:
    """Deadlines pass while labels lie unread, and restarts fall anywhere: of each prediction what is believed is the last
    label in time, each is labelled once or expires, and only a label that is not in time, or of no prediction, is an orphan.

    A label that is sent when its prediction's deadline has passed is promised nothing.
    """
    times = [3 * number + ahead for number, ahead in enumerate(jitter)]
    labels = [
        label(number, f"id{which}", (times[which] if which < len(times) else 3 * which) + delay, value)
        for number, (which, delay, value) in enumerate(delayed)
    ]
    lane = Lane([prediction(number, f"id{number}", time) for number, time in enumerate(times)], spill_after=spill_after)
    watch = _Watch()
    barrier: tuple[Lapsed, int] | None = None
    end = [("sent", len(labels)), ("labels", len(labels)), ("predictions", len(times)), ("expire", 0)]
    for verb, count in [*steps, *end]:
        if verb == "restart":
            before = remembered(lane.core)
            lane.restart()
            assert remembered(lane.core) == before
            barrier = None
        elif verb == "sent":
            lane.labels = labels[: len(lane.labels) + count]
        elif verb == "labels":
            start = lane.read[LABELS]
            lane.process(lane.labels[start : start + count])
        elif verb == "predictions":
            start = lane.read[PREDICTIONS]
            for record in lane.predictions[start : start + count]:
                watch.read(record, _time(record), len(lane.labels))
                lane.process([record])
        elif barrier is None and (mark := lane.core.expirable()) is not None:
            barrier = (mark, len(lane.labels))
        if barrier is not None and lane.read[LABELS] >= barrier[1]:
            lane.commit(lane.core.expire(barrier[0]))
            barrier = None
        assert_balanced(lane.core)

    told = _decoded(lane)
    learned = {key: msgspec.json.decode(value or b"")["label"] for key, value in lane.examples}
    for number in range(len(times)):
        in_time = [it for it, (which, delay, _) in enumerate(delayed) if which == number and delay <= HORIZON]
        promised = watch.passed.get(number, len(labels))
        if all(it < promised for it in in_time):
            key = f"id{number}"
            assert learned.get(key.encode()) == (delayed[in_time[-1]][2] if in_time else None)
            ends = [one.state for one in told if one.event_id == key and one.state in {"labelled", "expired"}]
            assert ends == (["labelled"] if in_time else ["expired"] * (number in watch.passed))
            assert not any(one.state == "orphan" and one.label_offset in in_time for one in told)


def _decoded(lane: Lane) -> list[Outcome]:
    return [msgspec.json.decode(record.value or b"", type=Outcome) for record in lane.outcomes]
