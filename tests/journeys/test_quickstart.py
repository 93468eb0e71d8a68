"""docs/quickstart.md, a stranger's first page: the demo as it says, on a slice of the flights, and what is looked at."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from schemas.topics import SERVICES
from services.cli import running
from services.cli.demo_end import Result
from tests.pages import blocks
from tests.terminals import Terminal, checkout

PAGE = "quickstart.md"
SHOWN = {
    "status": r"^champion  version \d+ of logistic \(live\)",
    "top": r"[1-9]\d* predictions/s .* logistic v\d",
    "doctor": r"^✓ champion",
    "tail predictions": r'"event_id":',
    "tail alerts": r"",
    "deadletter list": r"time_ahead",
    "models list": r"champion: version \d+ of logistic and what",
    "models promote": r"champion: version \d+ of logistic-sgd and what its candidate learns",
    "models rollback": r"champion: version \d+ of logistic exactly",
}
"""What each command to look around with has to print; there may be no alert yet."""
UNTIL_CTRL_C = {"top", "tail predictions"}
INTERRUPTED = 130
SOON_S = 60
"""Until a first prediction, also on a machine that does other things as well; on one that does not, 20 s are the aim."""
UP_A_LINE, ERASE_IT = "\x1b[1A", "\x1b[2K"


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


def name_of(command: str) -> str:
    """``models list`` of ``.venv/bin/rivermill models list``."""
    words = shlex.split(command)[1:3]
    return " ".join(word for word in words if not word.startswith("-"))


def looked(folder: Path, commands: Sequence[str]) -> dict[str, str]:
    """What each command prints, until it ends or is ended; each in a terminal of its own, all at the same time."""
    with ExitStack() as stack:
        terminals: dict[str, Terminal] = {}
        for number, command in enumerate(commands):
            terminal = Terminal(folder, folder.parent / f"look-{number}")
            terminals[name_of(command)] = stack.enter_context(terminal)
            terminal.start(command)
        for name in UNTIL_CTRL_C & terminals.keys():
            terminals[name].wait_for(SHOWN[name])
            terminals[name].interrupt()
        ended = {name: terminal.finish() for name, terminal in terminals.items()}
    assert [told for name, (code, told) in ended.items() if code and name not in UNTIL_CTRL_C] == []
    return {name: told for name, (_, told) in ended.items()}


@pytest.mark.timeout(300)
def test_a_slice_of_the_flights_ends_with_an_account_that_balances(tmp_path: Path) -> None:
    """Two days of soiled flights end balanced, learn the labels that a backtest learns, and leave no process behind."""
    command, *_ = blocks(PAGE, "## What it does")[0][1].splitlines()
    with Terminal(checkout(tmp_path / "checkout"), tmp_path / "output") as terminal:
        told = terminal.run(command, 280)
    result = msgspec.json.decode((tmp_path / "checkout" / "measured.json").read_bytes(), type=Result)
    assert result.settled
    assert result.account.balanced
    assert result.account.totals["join"]["labelled"] > 1000
    assert result.account.totals["clean"]["duplicates"] > 0
    assert result.account.totals["clean"]["rekeyed_events"] > 0
    assert not any(result.restarts.values()), told
    assert result.candidate == "logistic"
    assert result.metrics["logistic"]["examples"] > 1000
    assert result.compared is not None
    assert result.compared.live == result.metrics["logistic"]
    assert result.compared.backtest["examples"] == result.compared.live["examples"]
    assert {"cleaning", "scoring", "learner", "drift", "registry"} <= result.processes.keys()
    assert result.first_prediction_s is not None
    assert 0 < result.first_prediction_s < SOON_S
    assert f"first prediction {result.first_prediction_s:.1f} s after the start" in told
    assert result.freshness_median_s is not None
    assert f"freshness: {result.freshness_median_s * 1000:.0f} ms from a label to predictions" in told
    assert result.throughput is not None
    assert f"throughput: {result.throughput:,.0f} raw events a second to predictions" in told
    assert "The account balances." in told
    assert running.find(tmp_path / "checkout" / ".data" / "demo") is None
    assert left_behind(tmp_path) == []


@pytest.mark.timeout(300)
def test_the_demo_can_be_looked_at_and_stopped(tmp_path: Path) -> None:
    """Each command of the page shows what it should while the flights are replayed, on a terminal as a live view, and Ctrl-C
    ends everything in order, within 10 s.
    """
    ((_, demo),) = blocks(PAGE, "# Quickstart")
    ((_, looks),) = blocks(PAGE, "## Look around while it runs")
    folder = checkout(tmp_path / "checkout")
    with Terminal(folder, tmp_path / "demo", screen=True, TERM="xterm") as terminal:
        terminal.start(demo)
        terminal.wait_for("first prediction", 120)
        terminal.wait_for("Stages")
        assert len(left_behind(tmp_path)) > len(SERVICES)
        *look, promote, roll_back = looks.splitlines()
        told = looked(folder, look) | looked(folder, [promote]) | looked(folder, [roll_back])
        began = time.monotonic()
        terminal.interrupt()
        code, ended = terminal.finish()
        took = time.monotonic() - began
    assert told.keys() == SHOWN.keys()
    for name, pattern in SHOWN.items():
        assert re.search(pattern, told[name], re.MULTILINE), told[name]
    assert "Traceback" not in ended + "".join(told.values())
    assert f"{UP_A_LINE}{ERASE_IT}" in ended, "the view changes in place"
    assert "predictions/s" not in ended, "the lines are for what is no terminal"
    assert "stopped; nothing was left running" in ended
    assert code == INTERRUPTED
    assert took < 10
    assert left_behind(tmp_path) == []
