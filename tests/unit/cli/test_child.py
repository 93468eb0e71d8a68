from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.cli.child import Child, Command
from services.cli.watchdog import Watchdog


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


def python(program: str, path: Path) -> Command:
    return Command("it", [sys.executable, "-c", program, str(path)], dict(os.environ), "http://127.0.0.1:1")


def run(program: str, path: Path, steps: Callable[[Child, list[str]], Awaitable[None]]) -> list[str]:
    """Keep a program running in a group of its own while ``steps`` (a coroutine function) looks at it."""
    said: list[str] = []

    async def scenario() -> None:
        watchdog = Watchdog()
        child = Child(python(program, path), path / "it.log", watchdog.group, said.append)
        child.start()
        try:
            await steps(child, said)
        finally:
            await child.stop(5.0)
            watchdog.dismiss()
        assert child.pid is None

    asyncio.run(scenario())
    return said


def test_what_dies_is_started_again_and_told_why(tmp_path: Path) -> None:
    """A killed process comes back with another pid; the line for a person names the signal and its last words."""

    async def steps(child: Child, _said: list[str]) -> None:
        await until(lambda: (tmp_path / "it.log").exists() and "hello" in (tmp_path / "it.log").read_text())
        first = child.pid
        child.signal(signal.SIGKILL)
        await until(lambda: child.restarts == 1 and child.pid not in {None, first})

    said = run("import time; print('hello', flush=True); time.sleep(60)", tmp_path, steps)
    assert said == ["it ended (killed by SIGKILL): hello; restarts in 0.25 s"]


def test_restarts_back_off(tmp_path: Path) -> None:
    """A process that dies at once is started after twice as long each time; a JSON log line is told in words."""

    async def steps(_child: Child, said: list[str]) -> None:
        await until(lambda: len(said) >= 3)

    said = run("""print('{"event": "service ends", "error": "no broker"}'); raise SystemExit(1)""", tmp_path, steps)
    assert [line.rpartition("restarts in ")[2] for line in said[:3]] == ["0.25 s", "0.5 s", "1 s"]
    assert said[0].startswith("it ended (exit code 1): service ends: no broker")


def test_what_only_the_user_can_put_right_is_not_started_again(tmp_path: Path) -> None:
    """A process that ends with exit code 2 stays ended; the line for a person has its error, not what came after it."""
    said: list[str] = []
    program = """
print('{"event": "service ends", "error": "a bad factory", "level": "error"}')
print('{"event": "Stopping...", "level": "info"}')
raise SystemExit(2)
"""

    async def scenario() -> int:
        given_up, watchdog = asyncio.Event(), Watchdog()
        child = Child(python(program, tmp_path), tmp_path / "it.log", watchdog.group, said.append, given_up=given_up)
        child.start()
        try:
            await asyncio.wait_for(given_up.wait(), 20)
        finally:
            await child.stop(5.0)
            watchdog.dismiss()
        return child.restarts

    assert asyncio.run(scenario()) == 0
    assert said == ["it ended and is not started again: service ends: a bad factory"]


def test_last_words_are_those_of_this_run(tmp_path: Path) -> None:
    """What a process said before it was started again is not taken for why it ended the next time."""
    program = """
import pathlib, sys
flag = pathlib.Path(sys.argv[1]) / "second"
if not flag.exists():
    flag.touch()
    sys.exit("an error of the first run")
print('{"event": "works", "level": "info"}', flush=True)
sys.exit(1)
"""

    async def steps(_child: Child, said: list[str]) -> None:
        await until(lambda: len(said) >= 2)

    first, second, *_ = run(program, tmp_path, steps)
    assert "an error of the first run" in first
    assert "works" in second


def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is gone soon after its time is up."""
    program = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

    async def steps(child: Child, _said: list[str]) -> None:
        await until(lambda: child.last_words() == "deaf")
        began = time.monotonic()
        await child.stop(0.2)
        assert time.monotonic() - began < 3

    assert run(program, tmp_path, steps) == ["it does not stop: killed"]


def test_a_line_without_end_does_not_stop_the_log(tmp_path: Path) -> None:
    """A megabyte without a newline neither ends the reader nor hides what comes after it."""

    async def steps(child: Child, _said: list[str]) -> None:
        await until(lambda: child.last_words() == "after")

    program = "import time; print('x' * 1_000_000); print('after', flush=True); time.sleep(60)"
    assert run(program, tmp_path, steps) == []


def test_children_end_with_a_killed_parent() -> None:
    """When the process that holds the watchdog is killed with -9, its children get SIGTERM."""
    program = (
        "import subprocess, sys; from services.cli.watchdog import Watchdog; w = Watchdog(); "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], process_group=w.group); "
        "print(p.pid, w.group, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline().split()[0])
        parent.kill()
    asyncio.run(until(lambda: not alive(child)))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_watchdog_goes_quietly_when_dismissed() -> None:
    """After its dismissal no process of the group is left."""
    watchdog = Watchdog()
    watchdog.dismiss()
    with pytest.raises(ProcessLookupError):
        os.killpg(watchdog.group, 0)
