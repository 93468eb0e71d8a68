from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import deadletter
from schemas.codec import encode
from schemas.events import CleanEvent
from schemas.predictions import Prediction
from services.domain.records import Output
from services.domain.served import Served
from services.learner.core.fold import Fold
from services.scoring.core import Score
from tests.unit.records import Rec
from tests.unit.stream import control, events, examples, spec

TIME = datetime(2013, 1, 1, 12, 30, tzinfo=UTC)


def served(count: int = 100) -> Served:
    fold = Fold()
    fold.apply(control(spec()), 0)
    for offset, example in enumerate(examples(count), 1):
        fold.apply(example, offset)
    parts = fold.parts({"logistic": 3, "sgd": 2})
    return Served(parts["logistic"], [parts["sgd"]], parts["logistic"].encodings, fold.offset)


def core(state: Served | None = None, threshold: float = 0.5, *, binary: bool = True) -> Score:
    score = Score(2, 4, binary=binary, threshold=threshold)
    score.serve(state or SERVED)
    return score


SERVED = served()


def record(value: bytes | None, offset: int = 0, timestamp: int = 1_700_000_000_000) -> Rec:
    return Rec("flights.events.clean", 2, offset, timestamp, b"key", value, [("trace", b"1")])


def event(features: object, event_id: str = "e1") -> bytes:
    return encode(CleanEvent(event_id, TIME, features, [], "spec"))  # type: ignore[arg-type]


def predictions(output: Output) -> list[Prediction]:
    return [msgspec.json.decode(it.value, type=Prediction) for it in output.sends.get(("predictions", 2), [])]


def test_an_event_becomes_one_prediction():
    """A prediction carries id, time, Kafka timestamp, scores of every candidate, and all they were made with."""
    features = next(iter(events(1)))
    output = core().process([record(event(features), timestamp=77)], 0)
    (sent,) = output.sends["predictions", 2]
    (made,) = predictions(output)
    assert (sent.key, sent.timestamp, made.event_id, made.time, made.spec) == (b"e1", 77, "e1", TIME, "spec")
    assert made.features == features
    assert made.encoded == SERVED.encodings.encode(features)
    assert (made.model, made.encodings_offset) == (SERVED.champion.ref, 101)
    expected, challengers = SERVED.score(features, made.encoded)
    assert (made.score, made.challengers) == (expected, challengers)
    assert made.prediction is (made.score >= 0.5)


def test_the_threshold_decides_the_prediction_of_a_binary_task_only():
    """At a threshold equal to the score the prediction is true; a regression's prediction is its score."""
    value = event(next(iter(events(1))))
    score = predictions(core().process([record(value)], 0))[0].score
    assert predictions(core(threshold=score).process([record(value)], 0))[0].prediction is True
    assert predictions(core(threshold=score + 1e-9).process([record(value)], 0))[0].prediction is False
    assert predictions(core(binary=False).process([record(value)], 0))[0].prediction == score


def test_an_untrained_champion_says_one_half():
    """Scoring begins before anything is learned, with a score of 0.5."""
    (made,) = predictions(core(served(0)).process([record(event(next(iter(events(1)))))], 0))
    assert (made.score, made.challengers[0].score, made.encoded["carrier+origin"]) == (0.5, 0.5, [0.5])


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), max_size=5))
def test_batches_do_not_matter(cuts):
    """Splitting the events into batches anywhere gives the same predictions and totals."""
    log = [record(event(features, f"e{i}"), i) for i, features in enumerate(events(40))]
    log[7] = record(b"junk", 7)
    whole, parts = core(), core()
    expected = whole.process(log, 0)
    ends = [0, *sorted(cuts), 40]
    sends: list[object] = []
    for start, end in pairwise(ends):
        sends += parts.process(log[start:end], 0).sends["predictions", 2]
    assert sends == expected.sends["predictions", 2]
    assert parts.totals == whole.totals == {"in": 40, "predictions": 39, "deadletter.undecodable": 1}


def test_a_swap_takes_effect_with_the_next_batch():
    """After serve() every prediction names the new state."""
    score = core(served(10))
    value = record(event(next(iter(events(1)))))
    before = predictions(score.process([value], 0))[0]
    score.serve(SERVED)
    after = predictions(score.process([value], 0))[0]
    assert (before.model.examples_offset, after.model.examples_offset) == (11, 101)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"{", b"\xff\xfe", b"null", b"[]", b'{"event_id":1}', b"[" * 10_000, b'{"a":' * 10_000,
     event({"wind": 1.0}).replace(b"1.0", b"1" * 5000), event({"carrier": ["UA"]}), event({"wind": 1.0}) + b"x"],
)  # fmt: skip
def test_what_is_no_clean_event_becomes_a_dead_letter(value):
    """A value that cannot be decoded goes to deadletter with its bytes, key and headers, and the next is scored."""
    score = core()
    output = score.process([record(value), record(event({"wind": 1.0}))], 0)
    (letter,) = output.sends["deadletter", 2]
    assert (letter.key, letter.value, letter.headers[0]) == (b"key", value, ("trace", b"1"))
    assert (deadletter.RULE, b"undecodable") in letter.headers
    assert len(predictions(output)) == 1
    assert score.totals == {"in": 2, "predictions": 1, "deadletter.undecodable": 1}


def test_features_of_another_type_never_stop_the_lane():
    """An event whose features have types that the model does not know is scored or refused, with a reason."""
    values = [1.5, "text", True, None]
    log = [
        record(event({"wind": a, "carrier": b, "holiday": c, "origin": a}))
        for a in values for b in values for c in values
    ]  # fmt: skip
    score = core()
    score.process(log, 0)
    assert score.totals["predictions"] + score.totals.get("deadletter.unscorable", 0) == len(log)


def test_an_output_too_large_for_its_topic_goes_to_deadletter():
    """An event that fits its topic but whose prediction would not becomes a dead letter with that reason."""
    value = event({"wind": 1.0, "other": "x" * (1024 * 1024 - 4200)})
    score = core()
    output = score.process([record(value)], 0)
    assert not predictions(output)
    assert (deadletter.RULE, b"output_too_large") in output.sends["deadletter", 2][0].headers
    assert score.totals == {"in": 1, "predictions": 0, "deadletter.output_too_large": 1}


def test_a_failing_challenger_costs_no_prediction():
    """A challenger that raises is left out of the prediction and counted."""
    champion = served(5).champion
    broken = msgspec.structs.replace(champion, model=None)
    state = Served(champion, [broken], champion.encodings, 5)
    (made,) = predictions(core(state).process([record(event({"wind": 1.0}))], 0))
    assert made.challengers == []
    assert state.failures == 1


def test_nothing_is_scored_before_a_champion_is_served():
    """Processing without a served state is an error that says what to wait for."""
    with pytest.raises(RuntimeError, match="champion"):
        Score(0, 1, binary=True).process([record(b"{}")], 0)
