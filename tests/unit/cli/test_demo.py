"""rivermill demo, as far as it goes without a broker."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from services.cli import running
from services.cli.__main__ import main
from services.cli.demo import MARK, _empty
from services.cli.demo_end import told_to_find
from services.cli.demo_run import Wanted
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
