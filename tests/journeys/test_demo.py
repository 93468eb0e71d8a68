"""A stranger's first command: the demo, on a slice of the flights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from schemas.topics import SERVICES
from services.cli import running
from services.cli.demo_end import Result


def command(tmp_path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "services.cli", "demo", "--data-dir", str(tmp_path / "demo"), *arguments]


def left_behind(folder: Path) -> list[str]:
    """The command lines of processes that were started for this data directory and still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            started = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if any(os.fsencode(folder) in each for each in started):
            found.append(started[0].replace(b"\0", b" ").decode())
    return found


@pytest.mark.timeout(300)
def test_the_demo_on_a_slice_ends_with_an_account_that_balances(tmp_path: Path) -> None:
    """Two days of soiled flights end balanced, learn the labels that a backtest learns, and leave no process behind."""
    told = tmp_path / "result.json"
    done = subprocess.run(
        command(tmp_path, "--days", "2", "--dirt", "0.2", "--speed", "20000x", "--exit", "--json", str(told)),
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = msgspec.json.decode(told.read_bytes(), type=Result)
    assert result.settled
    assert result.account.balanced
    assert result.account.totals["join"]["labelled"] > 1000
    assert result.account.totals["clean"]["duplicates"] > 0
    assert result.account.totals["clean"]["rekeyed_events"] > 0
    assert not any(result.restarts.values()), done.stdout
    assert result.candidate == "logistic"
    assert result.metrics["logistic"]["examples"] > 1000
    assert result.compared is not None
    assert result.compared.live == result.metrics["logistic"]
    assert result.compared.backtest["examples"] == result.compared.live["examples"]
    assert {"cleaning", "scoring", "learner", "drift", "registry"} <= result.processes.keys()
    assert "The account balances." in done.stdout
    assert running.find(tmp_path / "demo") is None
    assert left_behind(tmp_path) == []


@pytest.mark.timeout(200)
def test_ctrl_c_stops_the_demo_within_ten_seconds(tmp_path: Path) -> None:
    """An interrupt in the middle of the replay ends everything in order, within 10 s and with exit code 0."""
    with subprocess.Popen(
        command(tmp_path, "--days", "30"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "first prediction" in line:
                break
        assert len(left_behind(tmp_path)) > len(SERVICES)
        began = time.monotonic()
        os.kill(demo.pid, signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait() == 0, rest
    assert time.monotonic() - began < 10
    assert left_behind(tmp_path) == []
