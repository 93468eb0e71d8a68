"""Candidates that cannot go on: how a fold says so, and what the log's answer makes of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.alerts import Alert
from schemas.codec import encode
from schemas.examples import Control, Example, Record, Withdrawn
from services.domain import snapshot
from services.domain.estimators import JOURNAL
from services.domain.records import Output
from services.learner.core.fold import HOPELESS, Fold
from services.learner.core.train import Train
from tests.unit.estimators import CANDIDATE, MOOD, SPEC, steps
from tests.unit.records import Rec
from tests.unit.stream import LOGISTIC, MORE, control, examples, spec

KEY = b"k" * 32
ALONE = spec(CANDIDATE)


def log(count: int, *moods: str, of: object = SPEC) -> list[Record]:
    """A control record and so many examples, the last of them in these moods."""
    records: list[Record] = [control(of), *examples(count, of=of)]  # type: ignore[arg-type]
    for index, mood in enumerate(moods, len(records) - len(moods)):
        records[index] = moody(records[index], mood)
    return records


def moody(record: Record, mood: str) -> Example:
    assert isinstance(record, Example)
    return msgspec.structs.replace(record, features={**record.features, MOOD: mood})


def folded(records: list[Record], fold: Fold | None = None) -> Fold:
    fold = fold or Fold()
    for record in records:
        fold.apply(record, fold.offset, fold.offset * 10)
    return fold


def opened(fold: Fold) -> list[snapshot.Snapshot]:
    return [snapshot.read(it.blob, snapshot.sign(it.blob, KEY), [KEY]) for it in fold.snapshots()]


def withdrawn(fold: Fold) -> Control:
    """Fold the withdrawal that the fold asks for."""
    assert fold.snapshots() == []
    record = fold.withdrawal()
    assert record is not None
    fold.apply(record, fold.offset)
    return record


@pytest.mark.parametrize("mood", ["closed", "mute", "lost"])
def test_a_candidate_whose_snapshot_cannot_be_taken_asks_to_be_withdrawn(mood):
    """It is named with the offset and the cause, nothing is published in part, and it learns no more, whatever comes."""
    fold = folded(log(40, mood))
    assert fold.withdrawal() is None
    assert fold.snapshots() == []
    record = fold.withdrawal()
    assert record is not None
    assert [(it.candidate, it.examples_offset) for it in record.withdrawn] == [("own", 41)]
    assert "failed: " in record.withdrawn[0].cause
    steps.clear()
    folded([*examples(5), control(spec(LOGISTIC + CANDIDATE, MORE)), *examples(5)], fold)
    again = fold.withdrawal()
    assert again is not None
    assert (again.withdrawn, steps) == (record.withdrawn, [])


@pytest.mark.parametrize("moods", [["closed", "fails"], ["closed", *[""] * (2 * JOURNAL)]])
def test_a_candidate_that_can_learn_no_more_never_stops_the_fold(moods):
    """Without anybody asking for snapshots, whatever an estimator's learning leads to ends in a withdrawal alone."""
    (example,) = examples(1)
    fold = folded([control(ALONE), *(moody(example, mood) for mood in moods)])
    assert fold.examples == len(moods)
    record = fold.withdrawal()
    assert record is not None
    assert record.withdrawn[0].candidate == "own"


@pytest.mark.parametrize(
    ("moods", "cause"),
    [
        (["fails"] * (HOPELESS - 1), None),
        ([*["fails"] * (HOPELESS - 1), "", *["fails"] * (HOPELESS - 1)], None),
        (["fails"] * HOPELESS, f"learning failed {HOPELESS} times in a row"),
    ],
    ids=["almost", "interrupted", "hopeless"],
)
def test_a_candidate_that_fails_at_every_example_is_withdrawn(moods, cause):
    """So many failures in a row are borne, and no more: each costs a load of the model."""
    (example,) = examples(1)
    fold = folded([control(ALONE), *(moody(example, mood) for mood in moods)])
    record = fold.withdrawal()
    assert [it.cause for it in (record.withdrawn if record else [])] == ([cause] if cause else [])
    assert fold.learners["own"].failures == moods.count("fails")


FAILING = log(45 + HOPELESS, *["fails"] * 20, "", *["fails"] * HOPELESS)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, len(FAILING) - 1), max_size=3))
def test_failures_in_a_row_are_counted_on_after_a_restore(cuts):
    """Written down and restored anywhere among failures, a fold asks for the withdrawal that one that never stopped does."""
    fold, start = Fold(), 0
    for cut in sorted(cuts):
        fold = Fold.restored(opened(folded(FAILING[start:cut], fold)))
        start = cut
    folded(FAILING[start:], fold)
    record = fold.withdrawal()
    assert record is not None
    assert [(it.candidate, it.examples_offset) for it in record.withdrawn] == [("own", len(FAILING))]
    assert fold.learners["own"].failures == 20 + HOPELESS


def test_a_withdrawal_drops_the_candidate_and_nothing_else():
    """After the record the others, columns and encodings are in every bit what they are in a fold without it."""
    fold = folded(log(60, "closed"))
    record = withdrawn(fold)
    assert fold.withdrawal() is None
    folded(examples(30, seed=5), fold)
    other = folded([control(spec()), *log(60, "closed")[1:], control(spec()), *examples(30, seed=5)])
    assert [it.candidate for it in fold.snapshots()] == ["logistic", "sgd"]
    for mine, theirs in zip(opened(fold), opened(other), strict=True):
        assert (mine.payload, mine.shared, mine.manifest.canaries) == (
            theirs.payload, theirs.shared, theirs.manifest.canaries,
        )  # fmt: skip
        assert mine.manifest.withdrawn == record.withdrawn


def test_a_fold_is_restored_without_the_withdrawn():
    """Snapshots taken after a withdrawal restore the fold as it was, and it does not ask again."""
    fold = folded(log(60, "closed"))
    withdrawn(fold)
    folded(examples(10), fold)
    again = Fold.restored(opened(fold))
    assert (again.control, list(again.learners)) == (fold.control, ["logistic", "sgd"])
    folded(examples(10, seed=9), again)
    folded(examples(10, seed=9), fold)
    assert again.withdrawal() is None
    assert [it.blob for it in again.snapshots()] == [it.blob for it in fold.snapshots()]


def test_snapshots_from_before_the_withdrawal_lead_to_the_same():
    """A fold restored from the last whole set, which holds the candidate, drops it where the log says so."""
    records = log(60, *[""] * 20, "closed")
    fold = folded(records[:50])
    before = opened(fold)
    folded(records[50:], fold)
    record = withdrawn(fold)
    again = folded([*records[50:], record], Fold.restored(before))
    assert [it.blob for it in again.snapshots()] == [it.blob for it in fold.snapshots()]


def test_a_changed_file_starts_the_candidate_anew():
    """A later control record without the withdrawal has the candidate again, untrained, beside the others as they are."""
    fold = folded(log(60, "closed"))
    withdrawn(fold)
    measured = fold.metrics()["logistic"]
    fold.apply(control(spec(LOGISTIC + CANDIDATE, MORE)), fold.offset)
    assert fold.metrics() == {"logistic": measured, "sgd": fold.metrics()["sgd"], "own": {"examples": 0}}
    assert [it.candidate for it in fold.snapshots()] == ["logistic", "sgd", "own"]


def test_with_all_candidates_withdrawn_the_encodings_go_on():
    """A fold without candidates learns encodings, publishes them live, and has no snapshots."""
    train = Train()
    folded(log(60, "closed", of=ALONE), train.fold)
    train.published({"own": 1}, 60, 0)
    withdrawn(train.fold)
    before = train.live()
    folded(examples(500, of=ALONE), train.fold)
    after = train.live()
    assert before is not None
    assert after is not None
    assert before.encodings != after.encodings
    assert (train.fold.snapshots(), train.fold.withdrawal(), train.versions_due(10_000)) == ([], None, True)


def told(output: Output) -> list[Alert]:
    return [msgspec.json.decode(it.value or b"", type=Alert) for it in output.sends["alerts", 0]]


def sent(train: Train, output: Output) -> None:
    """Fold what was sent to the log."""
    values = [it.value for it in output.sends["examples", 0]]
    train.process([Rec("flights.examples", 0, train.fold.offset, 0, b"control", value) for value in values], 0)


@pytest.mark.parametrize(
    ("after", "resolution"), [(spec(LOGISTIC + CANDIDATE, MORE), "recovered"), (spec(LOGISTIC), "accepted")]
)
def test_an_alert_opens_with_the_withdrawal_and_ends_with_a_changed_file(after, resolution):
    """One incident tells candidate, cause, served version and way out; a file with or without the candidate ends it."""
    train = Train()
    train.process([Rec("flights.examples", 0, at, 0, b"", encode(it)) for at, it in enumerate(log(40, "closed"))], 0)
    train.published({"logistic": 1, "sgd": 2, "own": 3}, 0, 0)
    train.fold.snapshots()
    record = train.fold.withdrawal()
    assert record is not None
    output = train.change(record, 1_000)
    (opened,) = told(output)
    assert told(train.change(record, 9_000))[0].alert_id == opened.alert_id
    assert (opened.kind, opened.severity, opened.state) == ("model", "critical", "opened")
    assert opened.model is not None
    assert (opened.model.candidate, opened.model.version, opened.position.offset) == ("own", 3, 40)
    for part in ("own is withdrawn", "not on the list", "keeps its version 3", "change the pipeline file"):
        assert part in opened.summary
    sent(train, output)
    assert not train.control_due(control(SPEC).spec), "an unchanged file must not start it anew"
    both = msgspec.structs.replace(record, withdrawn=[*record.withdrawn, Withdrawn("sgd", 50, "for a test")])
    assert [it.signal for it in told(train.change(both, 1_500))] == ["candidate/sgd"]
    output = train.change(control(after), 2_000)
    (ended,) = told(output)
    assert (ended.incident_id, ended.state, ended.resolution) == (opened.incident_id, "resolved", resolution)
    assert ended.alert_id != opened.alert_id
    sent(train, output)
    assert train.totals["controls"] == 3
    assert not told(train.change(control(SPEC), 3_000))
