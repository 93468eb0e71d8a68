"""The flights as files for a backtest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.flights.data import flights
from examples.flights.dirt import soil
from examples.flights.export import main
from services.cli.produce import records


def test_the_files_hold_what_a_replay_sends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each value of the replay is a line of its file, in the replay's order, dirt included."""
    assert main([str(tmp_path), "--days", "2", "--flights", "300", "--share", "0.5", "--kilometres"]) == 0
    sends = list(soil(flights(2, 300), share=0.5))
    for kind in ("event", "label"):
        lines = (tmp_path / f"{kind}s.jsonl").read_bytes().split(b"\n")
        assert lines == [*(send.value for send in sends if send.kind == kind), b""]
    assert f"{len([s for s in sends if s.kind == 'event'])} events" in capsys.readouterr().out


def test_csv_holds_the_same_values(tmp_path: Path) -> None:
    """Read back as `rivermill produce` reads CSV, the files have the values of the replay's clean flights."""
    assert main([str(tmp_path), "--days", "2", "--flights", "300", "--csv"]) == 0
    sends = list(soil(flights(2, 300), share=0.0))
    for kind in ("event", "label"):
        read = [json.loads(value) for block in records(tmp_path / f"{kind}s.csv") for _, value in block]
        assert read == [json.loads(send.value) for send in sends if send.kind == kind]


def test_dirt_does_not_go_into_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truncated JSON has no place in a table: the options together are refused."""
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--share", "0.5", "--csv"])
    assert "clean flights alone" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 and the error names the path."""
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file"), "--flights", "1"]) == 1
    assert "file" in capsys.readouterr().err
