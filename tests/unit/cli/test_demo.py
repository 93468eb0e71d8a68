"""rivermill demo, as far as it goes without a broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli import running
from services.cli.demo import MARK, _empty
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
