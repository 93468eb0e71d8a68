"""The demo's comparison with a backtest of what it replayed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from services.cli.demo_compare import ENOUGH, Compared, compared
from services.runtime.launch import load

FLIGHTS = Path("examples/flights/pipeline.toml")
LIVE = {"logistic": {"auc": 0.6, "examples": 500.0}}


def of(lag: timedelta, candidate: str | None = "logistic") -> Compared | None:
    return asyncio.run(compared(load(FLIGHTS), (1, 0.2, 2013, 500), lag, candidate, LIVE))


def test_late_labels_change_what_is_predicted_and_not_which_labels_count() -> None:
    """However late labels are, the backtest is measured on the same ones, and only what it says of them differs."""
    prompt, late = of(timedelta()), of(timedelta(hours=30))
    assert prompt is not None
    assert late is not None
    assert prompt.backtest["examples"] == late.backtest["examples"] > 400
    assert prompt.backtest["log_loss"] != late.backtest["log_loss"]
    assert (late.label_lag_s, late.live) == (30 * 3600, LIVE["logistic"])


def test_what_was_not_measured_live_is_not_compared() -> None:
    """Without a champion, or measures of it, there is nothing to compare."""
    assert of(timedelta(), None) is None
    assert of(timedelta(), "sgd") is None


@pytest.mark.parametrize(
    ("examples", "auc", "agree"),
    [(ENOUGH, 0.609, True), (ENOUGH, 0.611, False), (ENOUGH, 0.589, False), (ENOUGH - 1, 0.6, None)],
)
def test_both_agree_within_a_hundredth_on_enough_labels(examples: int, auc: float, agree: bool | None) -> None:
    """An AUC within .01 agrees, one beyond does not, and on few labels nothing is said."""
    both = Compared("logistic", 0.0, {"auc": 0.6, "examples": examples}, {"auc": auc, "examples": examples})
    assert both.agree is agree
