from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.cli import running, target
from services.runtime.settings import SettingsError


def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    """A second owner is refused with advice while the first holds the directory, and let in afterwards."""
    second = running.locked(tmp_path)
    with running.locked(tmp_path), pytest.raises(SettingsError, match="another `rivermill up` runs"):
        second.__enter__()
    with running.locked(tmp_path):
        pass


def test_what_runs_is_found_only_while_it_runs(tmp_path: Path) -> None:
    """What an owner left word of is found while it holds the directory, and not from a file that a kill left."""
    found = running.Running(1, "p.toml", "127.0.0.1:1", "http://127.0.0.1:2", {"cleaning": "http://127.0.0.1:3"})
    with running.locked(tmp_path):
        assert running.find(tmp_path) is None
        running.tell(tmp_path, found)
        assert running.find(tmp_path) == found
    running.tell(tmp_path, found)
    assert running.find(tmp_path) is None


def test_the_signing_key_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    """The key file has mode 0600, is not made anew, and is not made at all when the caller has a key."""
    given = running.signing_key(tmp_path, {})
    path = Path(given["RIVERMILL_SIGNING_KEY_FILE"])
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) >= 32
    assert running.signing_key(tmp_path, {}) == given
    assert path.read_text() == key
    assert running.signing_key(tmp_path / "other", {"RIVERMILL_SIGNING_KEY": "x" * 16}) == {}


def test_commands_find_what_runs_here_unless_told_otherwise(tmp_path: Path) -> None:
    """Broker and registry are those of the running `up`; the environment goes before it, an option before both."""
    found = running.Running(1, "p.toml", "127.0.0.1:1111", "http://127.0.0.1:2", {})
    with running.locked(tmp_path):
        running.tell(tmp_path, found)
        assert target.settings(None, tmp_path, {}).broker == "127.0.0.1:1111"
        assert target.settings(None, tmp_path, {}).registry_url == "http://127.0.0.1:2"
        assert target.settings(None, tmp_path, {"RIVERMILL_BROKER": "k:1"}).broker == "k:1"
        assert target.settings("k:2", tmp_path, {"RIVERMILL_BROKER": "k:1"}).broker == "k:2"
    assert target.settings(None, tmp_path, {}).broker == "127.0.0.1:9092"


def test_a_command_that_cannot_know_its_pipeline_says_so(tmp_path: Path) -> None:
    """Without a pipeline file, and with nothing running, the error says what to name."""
    with pytest.raises(SettingsError, match="name a pipeline file"):
        target.deployment(None, None, tmp_path, {})
