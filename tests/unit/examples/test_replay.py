"""The replay's command line and progress."""

from __future__ import annotations

import math

import pytest

from examples.flights.dirt import Send
from examples.flights.replay import ReplayProgress, main, speed_of


@pytest.mark.parametrize(("text", "speed"), [("600x", 600), ("40000", 40_000), ("40_000x", 40_000), ("max", math.inf)])
def test_speeds_are_read_as_people_type_them(text: str, speed: float) -> None:
    """With or without an x, with underscores, or max."""
    assert speed_of(text) == speed


@pytest.mark.parametrize("text", ["fast", "0", "-1x", "inf", "nan", ""])
def test_other_speeds_are_refused(text: str) -> None:
    """What is no positive, finite factor is no speed."""
    with pytest.raises(ValueError, match=r".*"):
        speed_of(text)


def test_progress_counts_what_was_sent() -> None:
    """Events, labels and dirt are counted apart, and the current event time is the last record's."""
    progress = ReplayProgress()
    progress.sent([Send(10, "event", b"a", b"{}"), Send(20, "label", b"a", b"{}", "label_twice")])
    assert (progress.events, progress.labels, dict(progress.dirt), progress.current) == (1, 1, {"label_twice": 1}, 20)
    assert progress.line() == "1970-01-01T00:00:20Z  1 events  1 labels  1 soiled"


def test_a_broker_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with exit code 1 and one line that names the address and the setting."""
    monkeypatch.setenv("RIVERMILL_BROKER", "127.0.0.1:1")
    assert main(["--flights", "1"]) == 1
    assert "127.0.0.1:1" in (error := capsys.readouterr().err)
    assert "RIVERMILL_BROKER" in error
