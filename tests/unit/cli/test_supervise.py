from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.cli.child import Child, Command
from services.cli.supervise import StartError, Supervisor
from services.cli.watchdog import Watchdog

FLIGHTS = Path("examples/flights/pipeline.toml")
SLOW = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit(0)))
print("stops slowly", flush=True)
signal.pause()
"""


def supervised(program: str, folder: Path, steps: Callable[[Supervisor, Child], Awaitable[None]]) -> list[str]:
    """A supervisor whose registry is this program; what it said to a person while ``steps`` looked at it."""
    said: list[str] = []

    async def scenario() -> None:
        watchdog = Watchdog()
        supervisor = Supervisor(FLIGHTS, folder, say=said.append)
        command = Command("registry", [sys.executable, "-c", program], dict(os.environ), "http://127.0.0.1:1")
        child = Child(command, supervisor.log("registry"), watchdog.group, said.append, given_up=supervisor._given_up)
        supervisor.children["registry"] = child
        child.start()
        try:
            await steps(supervisor, child)
        finally:
            await supervisor.stop()
            watchdog.dismiss()

    asyncio.run(scenario())
    return said


def test_whoever_is_stopped_last_has_the_time_that_is_left(tmp_path: Path) -> None:
    """A registry that takes its time to stop is not killed while the ten seconds are not over."""
    children: list[Child] = []

    async def steps(_supervisor: Supervisor, child: Child) -> None:
        children.append(child)
        async with asyncio.timeout(20):
            while child.last_words() != "stops slowly":  # noqa: ASYNC110 - another process says it
                await asyncio.sleep(0.01)

    assert supervised(SLOW, tmp_path, steps) == []
    assert children[0].exit_code == 0


def test_up_ends_with_what_only_the_user_can_put_right(tmp_path: Path) -> None:
    """When a process ends for good after all were ready, who watches hears which, why, and where its log is."""

    async def steps(supervisor: Supervisor, _child: Child) -> None:
        async with asyncio.timeout(20):
            with pytest.raises(StartError, match=r"registry cannot run: no such key \(log: .*registry\.log\)"):
                await supervisor.watch()

    supervised("import sys; sys.stderr.write('no such key'); sys.exit(2)", tmp_path, steps)
