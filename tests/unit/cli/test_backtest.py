from __future__ import annotations

import csv
import json
import math
import random
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cli import backtest_input, report
from services.cli.backtest import backtest
from services.cli.backtest_measures import Series, auc, measures
from services.cli.backtest_run import Result, run
from services.cli.offline import Offline
from services.cli.produce import ProduceError
from services.runtime.settings import SettingsError
from tests.unit.cli.raw_records import fields, raw, soiled, tidy
from tests.unit.stream import HEAD, LOGISTIC, REGRESSION, spec

PIPELINE = HEAD.format(task="binary") + LOGISTIC


def written(directory: Path, kind: str, records: list[dict[str, object]]) -> Path:
    """A file of JSON lines, or of CSV."""
    path = directory / f"{kind}"
    if kind.endswith(".jsonl"):
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
    else:
        with path.open("w", newline="") as file:
            rows = csv.DictWriter(file, list(records[0]))
            rows.writeheader()
            rows.writerows({name: _cell(value) for name, value in each.items()} for each in records)
    return path


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=30))
def test_measures_equal_their_definitions(pairs):
    """AUC is the share of pairs in the right order, ties half; log loss the mean of what each label cost."""
    scores, labels = (np.array(each, dtype=np.float64) for each in zip(*pairs, strict=True))
    trues = [score for score, label in pairs if label]
    falses = [score for score, label in pairs if not label]
    won = [1.0 if true > false else 0.5 if true == false else 0.0 for true in trues for false in falses]
    assert auc(scores, labels) == (pytest.approx(sum(won) / len(won)) if won else None)
    costs = [-math.log(max(score if label else 1 - score, 1e-15)) for score, label in pairs]
    assert measures(scores, labels, binary=True)["log_loss"] == pytest.approx(sum(costs) / len(costs))


def test_the_whole_equals_what_the_learner_measured():
    """The backtest's measures agree with the fold's own running ones, corrections counted in neither."""
    of, records = spec(), soiled(600)
    result = run(of, records)
    offline = Offline(of)
    list(offline.run(records))
    assert result.totals["train"]["corrections"] > 0
    for each in result.total:
        measured = offline.fold.metrics()[each.candidate]
        assert each.examples == measured["examples"]
        assert each.measures["log_loss"] == pytest.approx(measured["log_loss"])
        assert each.measures["auc"] == pytest.approx(measured["auc"], abs=0.002)


def test_periods_are_those_of_the_calendar_and_add_up():
    """Every prediction counts in one local day, week and month, which begin at local midnight, Monday and the first."""
    series, zone = Series(spec()), ZoneInfo("America/New_York")
    rng = random.Random(5)  # noqa: S311 - reproducible test data
    for hours in range(0, 24 * 100, 3):
        when = datetime(2013, 2, 1, tzinfo=UTC) + timedelta(hours=hours)
        example = {"time": when, "label": rng.random() < 0.5, "score": rng.random(), "challengers": [],
                   "model": {"name": "flights", "candidate": "logistic", "version": 1, "examples_offset": 1}}  # fmt: skip
        series.see(msgspec.json.encode(example))
    for period in ("hour", "day", "week", "month"):
        found = series.over_time(period, zone)
        assert sum(each.examples for each in found) == 800
        starts = [each.start.astimezone(zone) for each in found]
        assert starts == sorted(set(starts))
        if period != "hour":
            assert {start.time().isoformat() for start in starts} == {"00:00:00"}
        if period == "week":
            assert {start.weekday() for start in starts} == {0}
    assert [start.day for start in starts] == [1] * len(starts)


def test_everything_is_accounted_for():
    """Of soiled records the account balances, and repairs, repeats and dead letters are counted by rule."""
    result = run(spec(), soiled(600), partitions=2)
    assert (result.balanced, result.partitions) == (True, 2)
    assert result.records == len(soiled(600))
    assert {"clean: events.json_invalid", "clean: events.null_value", "clean: labels.time_ahead"} <= set(
        result.dead_letters
    )
    assert {"number_invalid"} <= set(result.repairs)


def test_a_stopped_backtest_tells_what_there_is():
    """Being asked to stop ends the records, not the result: what was through by then is measured and accounted for."""
    seen = [0]
    result = run(spec(), tidy(1500), progress=lambda count, _: seen.append(count), stopped=lambda: seen[-1] >= 1000)
    assert (result.stopped, result.balanced) == (True, True)
    assert 1000 <= result.records < len(tidy(1500))
    assert result.total[0].examples > 400


def test_a_regression_is_measured_by_its_errors():
    """A pipeline of numbers has RMSE and MAE in place of AUC and log loss, in table and page alike."""
    sent, labels = fields(200)
    records = sorted(
        (raw(each) for each in [*({**label, "late": 1.5} for label in labels), *sent]), key=lambda each: each.timestamp
    )
    result = run(spec(REGRESSION, task="regression"), records)
    assert set(result.total[0].measures) == {"rmse", "mae"}
    assert "RMSE" in report.page(result, UTC)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_files_give_what_their_records_give(ending, tmp_path):
    """JSON lines and CSV in any order of lines give the records in the order of their times, keyed, labels lagging."""
    sent, labels = fields(60)
    random.Random(1).shuffle(sent)  # noqa: S311 - reproducible test data
    lag = timedelta(minutes=5)
    paths = [written(tmp_path, f"{name}.{ending}", rows) for name, rows in (("events", sent), ("labels", labels))]
    records, count = backtest_input.from_files(spec(), paths[0], paths[1], lag)
    wanted = tidy(60, lag)
    assert count == len(wanted)
    assert [(each.kind, each.timestamp, each.key) for each in records] == [
        (each.kind, each.timestamp, each.key) for each in wanted
    ]
    for found, each in zip(records, wanted, strict=True):
        assert json.loads(found.value or b"") == pytest.approx(json.loads(each.value or b""))


def test_what_has_no_credible_time_keeps_its_place(tmp_path):
    """A record whose time cannot be read, or lies far beyond its neighbours', comes after the one before it."""
    sent, labels = fields(40)
    sent[10] = sent[10] | {"time": "yesterday"}
    sent[20] = sent[20] | {"time": "2014-01-01T00:20:00Z"}
    paths = written(tmp_path, "events.jsonl", sent), written(tmp_path, "labels.jsonl", labels)
    with paths[0].open("a") as file:
        file.write("not json\n")
    records, _ = backtest_input.from_files(spec(), *paths)
    events = [each for each in records if each.kind == "event"]
    assert [each.key for each in events] == [*(f"e{index}".encode() for index in range(40)), None]
    assert events[10].timestamp == events[9].timestamp
    assert events[20].timestamp == events[19].timestamp
    assert events[40].timestamp == events[39].timestamp


class Page(HTMLParser):
    """Checks that what is opened is closed, and collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.refers: list[str] = []
        self.lines = 0

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.refers += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_startendtag(self, tag, _attrs):
        self.lines += tag == "line"

    def handle_endtag(self, tag):
        self.lines += tag == "polyline"
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else():
    """The report is well-formed, escapes names, refers to nothing outside, and draws each candidate in each plot."""
    result = run(spec(), tidy(900))
    shown = report.page(msgspec.structs.replace(result, pipeline="<b>&"), UTC)
    page = Page()
    page.feed(shown)
    page.close()
    assert page.open == []
    assert page.refers == []
    assert "http" not in shown
    assert "&lt;b&gt;&amp;" in shown
    assert shown.count("<polyline") == 4


def test_the_command_writes_json_and_page(tmp_path, capsys):
    """The command prints its result as JSON on demand, writes the page, and exits with 0 when the account balances."""
    sent, labels = fields(300)
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(PIPELINE)
    files = written(tmp_path, "e.jsonl", sent), written(tmp_path, "l.csv", labels)
    page = tmp_path / "page.html"
    assert backtest(pipeline, events=files[0], labels=files[1], label_lag="10m", report_file=page, json=True) == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=Result)
    assert (result.records, result.label_lag_s) == (len(sent) + len(labels), 600)
    assert "<svg" in page.read_text()
    assert backtest(pipeline, events=files[0], labels=files[1]) == 0
    told = capsys.readouterr().out
    assert "The account balances." in told
    assert "logistic AUC" in told


def test_ids_that_look_like_numbers_are_ids(tmp_path):
    """Of hex ids some look like a number, with an exponent or too long for one: each event and label is used."""
    sent, labels = fields(300)
    names = ["1e10", "1.10", "12e45671", "0012", "1e999", "9" * 40]
    renamed = dict(zip((each["id"] for each in sent), names, strict=False))
    for each in (*sent, *labels):
        each["id"] = renamed.get(each["id"], each["id"])
    files = written(tmp_path, "e.csv", sent), written(tmp_path, "l.csv", labels)
    raws, count = backtest_input.from_files(spec(), *files)
    assert {name.encode() for name in names} <= {raw.key for raw in raws}
    assert count == len(sent) + len(labels)
    assert run(spec(), raws).dead_letters == {}


def test_what_is_missing_is_said(tmp_path):
    """Without files, with a file that is not there, or with a lag that is none, the command says what it expects."""
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(PIPELINE)
    with pytest.raises(SettingsError, match="--events FILE --labels FILE"):
        backtest(pipeline)
    with pytest.raises(ProduceError, match="cannot be read"):
        backtest(pipeline, events=tmp_path / "none.csv", labels=tmp_path / "none.csv")
    with pytest.raises(SettingsError, match="--label-lag"):
        backtest(pipeline, example="flights", label_lag="soon")


def test_options_of_which_one_would_be_ignored_are_refused(tmp_path):
    """Files beside the example, and options of the example beside files."""
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(PIPELINE)
    files = {"events": tmp_path / "e.csv", "labels": tmp_path / "l.csv"}
    for chosen in ({"events": files["events"]}, {"labels": files["labels"]}, files):
        with pytest.raises(SettingsError, match="--example is in place of files"):
            backtest(pipeline, example="flights", **chosen)
    for option in ({"days": 7}, {"dirt": 0.1}, {"seed": 1}):
        with pytest.raises(SettingsError, match="go with --example flights"):
            backtest(pipeline, **files, **option)
