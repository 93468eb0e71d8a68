from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.examples import Control, Example
from services.domain import snapshot
from services.domain.estimators import Estimator
from services.learner.core.fold import Fold, Refused
from tests.unit.estimators import GROWING
from tests.unit.stream import LOGISTIC, MORE, REGRESSION, TREE, control, events, examples, spec

KEY = b"k" * 32
LOG: list[Control | Example] = [control(spec()), *examples(150)]
LOG.insert(90, control(spec(LOGISTIC + TREE, MORE)))
GROWN: list[Control | Example] = [control(spec(LOGISTIC + GROWING)), *LOG[1:]]
GROWN[90] = control(spec(LOGISTIC + GROWING + TREE, MORE))


def folded(log: list[Control | Example], fold: Fold | None = None) -> Fold:
    fold = fold or Fold()
    for record in log:
        fold.apply(record, fold.offset, fold.offset * 10)
    return fold


def reloaded(fold: Fold) -> Fold:
    opened = [snapshot.read(it.blob, snapshot.sign(it.blob, KEY), [KEY]) for it in fold.snapshots()]
    return Fold.restored(opened)


def state(fold: Fold) -> list[object]:
    """All that a fold is, but pickled models as what they say to the canaries."""
    found: list[object] = [fold.offset, fold.label_came_in_ms, fold.metrics()]
    for taken in fold.snapshots():
        it = snapshot.read(taken.blob, snapshot.sign(taken.blob, KEY), [KEY])
        found += [it.manifest, it.shared, it.payload if it.manifest.codec == "msgpack" else None]
    return found


def splits(fold: Fold) -> int:
    """How often the growing tree has split: its branches."""
    model = fold.learners["growing"].model
    assert isinstance(model, Estimator)
    return int(model._estimator.n_branches)


WHOLE = state(folded(GROWN))


def test_the_tree_that_is_written_down_has_split():
    """What continuing is tried on below is no stump: its tree has branches half-way, and more of them at the end."""
    assert 1 < splits(folded(GROWN[:75])) < splits(folded(GROWN))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, len(GROWN)), max_size=3))
def test_snapshot_load_continue_equals_never_having_stopped(cuts):
    """However often a fold is written down and restored, its state after the log is the same in every bit."""
    fold, start = Fold(), 0
    for cut in [*sorted(cuts), len(GROWN)]:
        fold = folded(GROWN[start:cut], fold)
        fold = reloaded(fold)
        start = cut
    assert state(fold) == WHOLE


def test_a_control_record_adds_and_keeps():
    """Under a new spec known candidates, weights and encodings go on, new ones start, and absent ones are dropped."""
    fold = folded(LOG[:90])
    before = fold.parts({})
    said = {}
    tests = [(event, before["sgd"].encodings.encode(event)) for event in events(20, seed=7)]
    for name, part in before.items():
        said[name] = [part.model.score(part.columns.row(*it)) for it in tests]
    measured = fold.metrics()
    fold.apply(control(spec(LOGISTIC + TREE, MORE)), 90)
    after = fold.parts({})
    assert list(after) == ["logistic", "sgd", "tree"]
    assert {name: fold.metrics()[name] for name in measured} == measured
    for name, scores in said.items():
        part = after[name]
        assert [part.model.score(part.columns.row(*it)) for it in tests] == pytest.approx(scores, abs=1e-12)
    encoded = after["sgd"].encodings.encode(tests[0][0])
    assert {name: encoded[name] for name in tests[0][1]} == tests[0][1]
    assert "gate" in encoded
    fold.apply(control(spec()), 91)
    assert list(fold.parts({})) == ["logistic", "sgd"]


def test_a_changed_rate_goes_on_and_a_changed_model_starts_anew():
    """A candidate keeps its state under another learning rate, and loses it when it becomes another model."""
    fold = folded(LOG[:90])
    payload = fold.snapshots()[0]
    text = LOGISTIC.replace(
        'model = "logistic_regression"\n', 'model = "logistic_regression"\nlearning_rate = 0.5\n', 1
    )
    fold.apply(control(spec(text)), 90)
    assert fold.snapshots()[0].metrics == payload.metrics
    fold.apply(control(spec(TREE.replace("tree", "logistic", 1))), 91)
    assert fold.metrics() == {"logistic": {"examples": 0}}


def test_the_logs_first_id_is_the_folds():
    """A later control record changes the spec and not the identity of the log."""
    fold = folded([control(spec()), msgspec.structs.replace(control(spec(more=MORE)), log_id="other")])
    assert fold.control is not None
    assert fold.control.log_id == control(spec()).log_id
    assert fold.control.spec == control(spec(more=MORE)).spec


BINARY = examples(1)[0]


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (msgspec.structs.replace(BINARY, label=1.0), "label_type"),
        (msgspec.structs.replace(BINARY, weight=float("nan")), "not_finite"),
        (msgspec.structs.replace(BINARY, weight=-1.0), "not_finite"),
        (msgspec.structs.replace(BINARY, features={"wind": float("inf")}), "not_finite"),
        (msgspec.structs.replace(BINARY, features={"wind": "strong"}), "not_finite"),
        (msgspec.structs.replace(BINARY, encoded={"*": [float("nan"), 0.0]}), "not_finite"),
        (Control("x", "y", "{}"), "invalid_pipeline"),
        (Control("x", "y", "junk"), "invalid_pipeline"),
    ],
)
def test_a_record_that_cannot_be_folded_changes_only_the_offset(record, rule):
    """A refused record names its rule and leaves candidates, columns, encodings and measures as they were."""
    fold = folded(LOG[:50])
    before = state(fold)
    with pytest.raises(Refused) as refused:
        fold.apply(record, 50)
    assert (refused.value.rule, fold.offset) == (rule, 51)
    fold.offset = 50
    assert state(fold) == before


def test_an_example_before_any_control_record_is_refused():
    """Nothing can be learned before the log says how."""
    with pytest.raises(Refused, match="control"):
        Fold().apply(BINARY, 0)


def test_a_regressions_label_is_a_number():
    """A regression learns numbers, and refuses booleans and numbers that are not finite."""
    of = spec(REGRESSION, task="regression")
    log = examples(200, of=of)
    fold = folded([control(of), *log])
    assert fold.metrics()["linear"]["examples"] == 200
    part = fold.parts({})["linear"]
    late = [part.model.score(part.columns.row(it.features, it.encoded)) for it in log]
    assert max(late) > min(late)
    for label in (True, float("inf"), 1e200):
        with pytest.raises(Refused):
            fold.apply(msgspec.structs.replace(log[0], label=label), 500)


def test_corrections_are_learned_and_not_measured_again():
    """A correction moves the models and encodings as an example does, and no measure."""
    first = folded(LOG[:60])
    again = msgspec.structs.replace(BINARY, label=not BINARY.label, corrects=BINARY.label)
    measured, said = first.metrics(), first.snapshots()[0].blob
    first.apply(again, 60)
    assert first.metrics() == measured
    assert first.snapshots()[0].blob != said
    assert first.examples == 60


def test_a_fold_is_restored_from_one_snapshot_a_candidate_at_one_offset():
    """Snapshots of different offsets, or too few of them, are refused."""
    early, late = (
        [snapshot.read(it.blob, snapshot.sign(it.blob, KEY), [KEY]) for it in folded(LOG[:count]).snapshots()]
        for count in (20, 30)
    )
    for wrong in ([early[0], late[1]], early[:1]):
        with pytest.raises(snapshot.SnapshotError, match="one snapshot a candidate"):
            Fold.restored(wrong)
