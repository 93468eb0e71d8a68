from __future__ import annotations

from math import log

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.learner.core.prequential import BINS, RECENT, Prequential, State, auc

SCORED = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


def measured(scored: list[tuple[float, bool]], state: State | None = None) -> Prequential:
    it = Prequential(binary=True, threshold=0.5, state=state)
    for score, label in scored:
        it.update(score, float(label))
    return it


@settings(max_examples=200)
@given(SCORED)
def test_auc_is_that_of_all_pairs_up_to_ties_within_a_bin(scored):
    """The histogram's AUC differs from the share of ordered pairs by at most half the share that fall into one bin."""
    trues, falses = [s for s, y in scored if y], [s for s, y in scored if not y]
    report = measured(scored).report()
    if not trues or not falses:
        assert "auc" not in report
        return
    pairs = [(true, false) for true in trues for false in falses]
    exact = sum((true > false) + 0.5 * (true == false) for true, false in pairs) / len(pairs)
    same = sum(min(int(true * BINS), BINS - 1) == min(int(false * BINS), BINS - 1) for true, false in pairs)
    assert abs(report["auc"] - exact) <= 0.5 * same / len(pairs) + 1e-12
    assert report["auc_recent"] == report["auc"]


@settings(max_examples=100)
@given(SCORED.filter(bool))
def test_loss_accuracy_and_rate_are_plain_means(scored):
    """Log loss, accuracy and the share of trues are the means over all counted scores."""
    report = measured(scored).report()
    losses = [-log(max(score if label else 1 - score, 1e-15)) for score, label in scored]
    assert report["log_loss"] == pytest.approx(sum(losses) / len(losses))
    assert report["accuracy"] == pytest.approx(sum((s >= 0.5) == y for s, y in scored) / len(scored))
    assert report["positive_rate"] == pytest.approx(sum(y for _, y in scored) / len(scored))


@settings(max_examples=50)
@given(SCORED, SCORED)
def test_measures_written_down_go_on_equally(before, after):
    """A state that went through msgpack gives the same measures ever after."""
    one = measured(before)
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(one.state()), type=State)
    other = measured(after, loaded)
    for score, label in after:
        one.update(score, float(label))
    assert one.report() == other.report()
    assert one.state() == other.state()


def test_the_recent_auc_forgets():
    """After as many good scores as the window holds, earlier bad ones count no longer."""
    it = measured([(0.9, False), (0.1, True)] * 500)
    assert it.report()["auc"] == 0.0
    for index in range(RECENT):
        it.update(0.2 + 0.6 * (index % 2), float(index % 2))
    assert it.report()["auc_recent"] == 1.0
    assert it.report()["auc"] < 1.0
    assert it.report()["log_loss_recent"] < it.report()["log_loss"]


def test_a_regression_is_measured_by_its_errors():
    """RMSE and MAE are over estimate minus label."""
    it = Prequential(binary=False, threshold=0.5)
    for score, label in ((1.0, 4.0), (5.0, 1.0)):
        it.update(score, label)
    report = it.report()
    assert (report["rmse"], report["mae"]) == (pytest.approx(12.5**0.5), 3.5)


def test_auc_without_both_labels_is_unknown():
    """There is no AUC before one true and one false example."""
    assert auc([1, 0], [0, 0]) is None
    assert Prequential(binary=True, threshold=0.5).report() == {"examples": 0}


@pytest.mark.parametrize("score", [1e155, -1e308, float("inf"), float("nan")])
@pytest.mark.parametrize("binary", [True, False])
def test_a_score_that_cannot_be_squared_is_not_counted(score, binary):
    """Whatever score an example carries, measuring it neither raises nor makes a measure infinite for ever."""
    it = Prequential(binary=binary, threshold=0.5)
    for each in (0.5, score, 0.25):
        it.update(each, 1.0)
    report = it.report()
    assert report["examples"] == 2
    assert all(abs(value) < 10 for value in report.values())
