"""rivermill demo, as far as it goes without a broker."""

from __future__ import annotations

import asyncio
import math
import os
import re
from pathlib import Path

import msgspec
import pytest

from services.cli import running
from services.cli.__main__ import main
from services.cli.account import Found, account, expected
from services.cli.demo import MARK, PIPELINE, _empty
from services.cli.demo_end import Result, told_to_find
from services.cli.demo_run import Demo, Wanted
from services.cli.scrape import Process, Sample
from services.cli.supervise import Supervisor
from services.runtime.settings import SettingsError


def test_what_no_demo_has_made_is_not_emptied(tmp_path: Path) -> None:
    """A directory that `rivermill up` has used, or a file, is refused and left as it was."""
    with running.locked(tmp_path):
        (tmp_path / "registry.sqlite").write_text("versions")
    for place in (tmp_path, tmp_path / "registry.sqlite"):
        with pytest.raises(SettingsError, match="choose another --data-dir"):
            _empty(place)
    assert (tmp_path / "registry.sqlite").read_text() == "versions"
    assert not (tmp_path / MARK).exists()


def test_the_next_demo_empties_what_the_last_one_left(tmp_path: Path) -> None:
    """A new directory, and one whose demo was killed before it marked it, become a demo's; all in a demo's goes, links unfollowed."""
    outside, data = tmp_path / "outside", tmp_path / "demo"
    outside.mkdir()
    (outside / "kept").touch()
    data.mkdir()
    (data / running.LOCK).touch()
    _empty(data)
    (data / "logs").mkdir()
    (data / "logs" / "cleaning.log").touch()
    (data / "link").symlink_to(outside)
    _empty(data)
    assert {each.name for each in data.iterdir()} == {MARK, running.LOCK}
    assert (outside / "kept").exists()
    with running.locked(data), pytest.raises(SettingsError, match="another `rivermill up` runs"):
        _empty(data)


def test_the_demo_lies_where_the_other_commands_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --data-dir it is `demo` in RIVERMILL_DATA_DIR."""
    monkeypatch.setenv("RIVERMILL_DATA_DIR", str(tmp_path))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["demo"])
    assert f"{tmp_path / 'demo'} holds something" in capsys.readouterr().err


def test_the_advice_at_the_end_names_a_data_directory_only_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demo that the commands find needs no option; one elsewhere, or behind an `up` that they find first, does."""
    monkeypatch.setenv("RIVERMILL_DATA_DIR", str(tmp_path))
    demo, other = tmp_path / "demo", tmp_path / "else where"

    def running_on(place: Path, pid: int) -> None:
        running.tell(place, running.Running(pid, "p.toml", "127.0.0.1:1", "http://127.0.0.1:2", {}))

    with running.locked(other), running.locked(demo):
        running_on(other, os.getpid())
        assert told_to_find(other) == f" --data-dir '{other}'"
        running_on(demo, os.getpid())
        assert told_to_find(demo) == ""
        with running.locked(tmp_path):
            running_on(tmp_path, os.getpid() + 1)
            assert told_to_find(demo) == f" --data-dir {demo}"


@pytest.mark.parametrize(
    ("days", "limit", "dirt", "told"),
    [(45, None, 0.03, True), (44, None, 0.03, False), (60, 30_000, 0.03, False), (60, None, 0.0, False)],
)
def test_the_kilometres_are_announced_where_they_are_replayed(
    days: int, limit: int | None, dirt: float, told: bool
) -> None:
    """14 February is the 45th day: a replay that ends before it, by days or by flights, or a tidy one, has no kilometres."""
    assert Wanted(days, limit, math.inf, 2013, dirt).has_kilometres() is told


STAGES: dict[str, dict[str, int]] = {
    "clean": {"events": 3}, "score": {"in": 3, "predictions": 3}, "join": {"predictions": 3, "pending": 3}, "train": {},
    "summarise": {"predictions": 3}, "detect": {},
}  # fmt: skip


def measured(lost: int = 0) -> Result:
    """What a demo of three events measured, one of which may lie in no topic of predictions."""
    found = Found(expected(STAGES) | {"predictions": 3 - lost})
    return Result(
        days=1, speed="40000.0", first_prediction_s=7.0, predicted_in_s=2.0, throughput=1234.5, freshness_median_s=0.081,
        label_lag_median_s=0.1, candidate="logistic", metrics={"logistic": {"auc": 0.71234, "examples": 2987.0}},
        processes={"scoring": Process(3.0, 120.0)}, restarts={}, incidents=[], drift_found=None, drift_recovered=None,
        settled=True, account=account("flights", STAGES, {"events": 3, "labels": 0}, found), compared=None,
    )  # fmt: skip


def a_demo(folder: Path) -> Demo:
    return Demo(Supervisor(PIPELINE, folder, env={}), Wanted(1, None, 40_000, 2013, 0.03))


@pytest.mark.parametrize(("lost", "code", "says"), [(0, 0, "balances."), (1, 1, "does not balance.")])
def test_the_exit_code_is_1_when_the_account_does_not_balance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: int, code: int, says: str
) -> None:
    """A record that lies in no topic makes the demo fail; people are told, and programs by --json."""
    report = tmp_path / "measured.json"
    assert asyncio.run(a_demo(tmp_path).end(measured(lost), stay=False, report=report)) == code
    assert f"The account {says}" in capsys.readouterr().out
    assert msgspec.json.decode(report.read_bytes(), type=Result).account.balanced is not bool(lost)


def test_what_was_measured_is_shown_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The models' measures, freshness, throughput, CPU and memory; a line is left out where nothing was measured."""
    demo = a_demo(tmp_path)
    asyncio.run(demo.end(measured(), stay=False, report=None))
    shown = capsys.readouterr().out
    for line in (
        "logistic (champion): auc 0.7123, on 2,987 labels",
        "freshness: 81 ms from a label to predictions made with it (median)",
        "throughput: 1,234 raw events a second to predictions, from the first sent to the last predicted",
        "CPU and memory: scoring 3 s/120 MB",
    ):
        assert f"  {line}\n" in shown
    nothing = msgspec.structs.replace(measured(), freshness_median_s=None, throughput=None)
    asyncio.run(demo.end(nothing, stay=False, report=None))
    shown = capsys.readouterr().out
    assert "CPU and memory" in shown
    assert "freshness" not in shown
    assert "throughput" not in shown


def test_the_first_prediction_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As soon as a look at scoring finds one, with the seconds that it took from the start."""
    demo = a_demo(tmp_path)
    for predictions in (0, 2, 3):
        demo._notice(Sample(0.0, {"score": {"predictions": predictions}}, {}, {}))
        shown = re.search(r"first prediction \d+\.\d s after the start", capsys.readouterr().out)
        assert bool(shown) is (predictions == 2)
