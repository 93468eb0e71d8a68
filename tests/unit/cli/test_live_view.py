"""What the demo shows while it runs: every number of a sample, in the view and in the plain line."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import msgspec
from rich.console import Console

from schemas.alerts import Alert, Position
from services.cli.live_view import line, view
from services.cli.scrape import Process, Sample, _read

STAGES = ("clean", "score", "join", "train", "summarise", "detect")


def sample(at: float, totals: dict[str, dict[str, int]], **values: object) -> Sample:
    lag = {stage: 11 + number for number, stage in enumerate(STAGES)}
    return Sample(at, {stage: {} for stage in STAGES} | totals, lag, {}, **values)  # type: ignore[arg-type]


BEFORE = sample(100.0, {})
NOW = sample(
    102.0,
    {
        "clean": {"events_in": 6001, "labels_in": 2002, "rekeyed_in": 3, "repaired.synonym": 71, "repaired.trim": 72,
                  "duplicates": 41, "deadletter.time_ahead": 42},
        "score": {"in": 5008, "predictions": 5007, "deadletter.unscorable": 43},
        "join": {"predictions": 4000, "labels": 1010, "pending": 31, "labelled": 32, "corrected": 33, "duplicate": 34,
                 "superseded": 35, "expired": 36, "orphan": 37, "waiting": 38},
        "train": {"examples": 3000, "corrections": 18},
        "summarise": {"predictions": 1500, "examples": 24},
        "detect": {"summaries": 306},
    },
    candidate="logistic", version=17, staleness_s=2.5, freshness_median_s=0.081,
    prequential={"logistic": {"auc": 0.7123, "log_loss": 0.4567, "examples": 2987.0}}, missing=["drift"],
)  # fmt: skip
INCIDENT = Alert(
    "a-opened", "a", "opened", None, "drift", "warning", "distance", "distance [mean] moved", {}, [], None,
    datetime(2013, 2, 14, 6, tzinfo=UTC), Position("flights.summaries", 0, 1),
)  # fmt: skip


def shown(now: Sample, incidents: dict[str, Alert]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(view("2013-02-14", now, BEFORE, incidents))
    return re.sub(r" +", " ", console.file.getvalue())  # type: ignore[attr-defined]


def test_the_view_shows_every_stage_with_its_rate_its_records_and_its_lag() -> None:
    """Each of the six stages has a row: records a second since the last look, records in all, lag."""
    text = shown(NOW, {})
    for row in ("cleaned 4,003 8,006 11", "predicted 2,504 5,008 12", "joined 2,505 5,010 13",
                "learned 1,509 3,018 14", "watched 762 1,524 15", "judged 153 306 16"):  # fmt: skip
        assert row in text


def test_the_view_shows_the_ledger_repairs_and_refusals() -> None:
    """Labels by what became of them, repairs by rule, dead letters by rule (cleaning's own without its name)."""
    text = shown(NOW, {})
    for cell in ("pending 31", "labelled 32", "corrected 33", "duplicate 34", "superseded 35", "expired 36", "orphan 37",
                 "waiting 38", "synonym 71", "trim 72", "duplicate id 41", "time_ahead 42", "score: unscorable 43"):  # fmt: skip
        assert cell in text


def test_the_view_shows_the_champion_and_how_fresh_it_is() -> None:
    """The champion's version, the age of the newest label it knows beside the median delay, and its metrics."""
    text = shown(NOW, {})
    assert "Champion logistic version 17" in text
    assert "fresh 2.5 s since its newest label came in, 81 ms from a label to predictions (median)" in text
    assert "AUC 0.712 log loss 0.457 on 2,987 labels" in text
    assert "away: drift" in text
    assert "none yet version 0 fresh – since its newest label" in shown(sample(102.0, {}), {})  # noqa: RUF001 - a dash


def test_the_view_shows_incidents_as_they_are_worded() -> None:
    """The newest step of each incident is a line, brackets and all; without one it says none."""
    assert "2013-02-14 06:00 drift opened: distance [mean] moved" in shown(NOW, {"a": INCIDENT})
    assert "Incidents none" in shown(NOW, {})


def test_an_open_incident_is_never_pushed_out_by_resolved_ones() -> None:
    """However many later ones are over, what is still open is shown; among the five lines it is the last."""
    over = msgspec.structs.replace(INCIDENT, state="resolved", resolution="recovered", summary="it came back")
    text = shown(NOW, {"a": INCIDENT} | {f"later-{number}": over for number in range(9)})
    assert "distance [mean] moved" in text.splitlines()[-2]
    assert text.count("it came back") == 4


def test_the_plain_line_says_the_same() -> None:
    """Where there is no terminal one line has rate, counts, lag, champion, freshness, metrics, incidents."""
    assert line("2013-02-14", NOW, BEFORE, {"a": INCIDENT}).split("  ") == [
        "2013-02-14", "2,504 predictions/s", "5,007 predicted", "32 labelled", "31 pending", "lag 81", "logistic v17",
        "fresh 2.5 s (median 81 ms)", "AUC 0.712", "log loss 0.457", "1 incidents open", "away: drift",
    ]  # fmt: skip


def test_of_several_scoring_processes_the_stalest_counts() -> None:
    """Freshness is that of the process that serves the oldest state; one that knows no label yet has none to tell."""
    found = sample(0.0, {})
    for process, seconds in (("scoring", "NaN"), ("scoring-2", 3.5), ("scoring-3", 1.25)):
        _read(found, process, f"rivermill_serving_staleness_seconds {seconds}\n", {})
        assert (found.staleness_s is None) == (process == "scoring")
    assert found.staleness_s == 3.5
    assert found.processes["scoring-2"] == Process(0.0, 0.0)
