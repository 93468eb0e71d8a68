"""What the adversary does when its victim is not there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chaos import script
from chaos.adversary import Act
from chaos.faults import Faults
from chaos.owners import Owners
from chaos.recovery import WATCHED_MS
from chaos.strikes import STRIKES
from services.cli.child import Child, Command
from services.cli.loopback import free_port
from services.cli.supervise import Supervisor
from services.cli.watchdog import Watchdog


@asynccontextmanager
async def running(folder: Path, program: str, said: list[str]) -> AsyncIterator[Faults]:
    """Faults at a process named drift that runs this program and answers nothing."""
    pipeline = folder / "pipeline.toml"
    pipeline.write_text(script.FILE, encoding="utf-8")
    watchdog, supervisor = Watchdog(), Supervisor(pipeline, folder, say=said.append)
    command = Command("drift", [sys.executable, "-c", program], dict(os.environ), f"http://127.0.0.1:{free_port()}")
    child = supervisor.children["drift"] = Child(command, folder / "log", watchdog.group, said.append)
    child.start()
    feeder: Any = None  # the fault does not feed
    try:
        async with asyncio.timeout(30):
            yield Faults(supervisor, Owners(dict), feeder, STRIKES, said.append)
    finally:
        await child.stop(5.0)
        watchdog.dismiss()


def test_a_process_that_ended_for_good_is_noted_and_not_waited_for(tmp_path: Path) -> None:
    """A strike at a process that is not started again (exit code 2) ends, with the process's own last words."""

    async def run() -> list[str]:
        async with running(tmp_path, "import sys; print('the setting is wrong'); sys.exit(2)", []) as faults:
            await faults.carry_out([Act(0.0, "kill", "drift", 0.0, 1)])
            await faults.all_back()
            return faults.unready

    assert asyncio.run(run()) == ["drift ended and is not started again: the setting is wrong"] * 2


def test_what_is_not_back_once_nothing_strikes_any_more_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was not ready while others struck it is no violation; one that is not at the end is."""
    monkeypatch.setattr("chaos.faults._READY_S", 0.5)
    said: list[str] = []

    async def run() -> list[str]:
        async with running(tmp_path, "import time; time.sleep(60)", said) as faults:
            await faults.carry_out([Act(0.0, "terminate", "drift", 0.0, 1)])
            assert faults.unready == []
            assert any("not ready after" in line for line in said)
            await faults.all_back()
            return faults.unready

    assert asyncio.run(run()) == ["drift is not ready"]


def test_the_stream_goes_on_while_lanes_are_watched(tmp_path: Path) -> None:
    """A last kill that is over at once still has its seconds; without a kill nothing is watched."""

    async def run() -> tuple[float, float]:
        async with running(tmp_path, "import time; time.sleep(60)", []) as faults:
            before = faults.watching_s()
            faults.killed(Act(0.0, "kill", "drift", 0.0, 1))
            return before, faults.watching_s()

    before, after = asyncio.run(run())
    assert before == 0
    assert WATCHED_MS / 1000 - 1 < after <= WATCHED_MS / 1000
