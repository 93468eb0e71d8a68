"""A person at a shell, in a checkout: the commands of a page are run as they stand, one block after the other."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

from tests.unit.cli.watching import CTRL_C

ROOT = Path(__file__).parents[1]
_LEFT_OUT = {".venv", ".data", ".git"}
_KEPT = ("RIVERMILL_CACHE_DIR", "RIVERMILL_MAVEN_URL")
_SILENT = {"PS1": "", "PS2": "", "VIRTUAL_ENV_DISABLE_PROMPT": "1"}
_ENDS_WITHIN_S = 15
_SCRIPT = """trap 'code=$?; trap - ERR; return $code' ERR
{block}
trap - ERR
"""


def checkout(folder: Path) -> Path:
    """Lay this repository under another path: what its commands write, outside of the virtual environment, stays there."""
    installed = Path(sys.prefix) / ".editable"
    if not installed.exists() or installed.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        pytest.fail(
            "pyproject.toml is newer than the environment, which `make` would install from there: run `make venv`"
        )
    folder.mkdir()
    for each in ROOT.iterdir():
        if each.name not in _LEFT_OUT:
            (folder / each.name).symlink_to(each)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


class Terminal:
    """A bash with job control: exports and jobs last from block to block. Leaving it ends all that it has started.

    ``output`` is the file for what it prints; it reads what is typed from a terminal, for Ctrl-C's sake. With ``screen`` it
    prints on a terminal, too, and all of that is copied to the file.
    """

    def __init__(self, folder: Path, output: Path, *, screen: bool = False, **env: str) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or not name.startswith(("RIVERMILL_", "PYTHON", "MAKE"))
        }
        self._output, self._block = output, output.with_suffix(".block")
        self._count = self._begin = 0
        self._keys, theirs = pty.openpty()
        silent = termios.tcgetattr(theirs)
        silent[3] = (silent[3] & ~termios.ECHO) | termios.NOFLSH  # Ctrl-C takes nothing that was typed before it
        termios.tcsetattr(theirs, termios.TCSANOW, silent)
        opened = 'exec bash --norc --noprofile --noediting -i < "$0" 2> "$0"'  # which makes it the session's own
        output.write_bytes(b"")
        sink = _screen(output) if screen else os.open(output, os.O_WRONLY)
        self._bash = subprocess.Popen(
            ["sh", "-c", opened, os.ttyname(theirs)], cwd=folder, env=kept | env | _SILENT,
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(sink)
        self._theirs = theirs
        self.run("exec 2>&1\nset -o pipefail")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + _ENDS_WITHIN_S
            for job in self._jobs():
                with suppress(ProcessLookupError):
                    os.killpg(job, number)
            while self._jobs() and time.monotonic() < deadline:
                time.sleep(0.05)
        self._bash.kill()
        self._bash.wait()
        os.close(self._keys)
        os.close(self._theirs)

    def run(self, block: str, within: float = 60) -> str:
        """Run a block to its end; what it printed. The test fails if one of its commands does."""
        self.start(block)
        return self._well(block, within)

    def answer(self, block: str, question: str, words: str) -> str:
        """Run a block that asks something at the terminal, and type these words when it does; what it printed."""
        self.start(block, asks=True)
        self.wait_for(question)
        os.write(self._keys, f"{words}\n".encode())
        return self._well(block)

    def start(self, block: str, *, asks: bool = False) -> None:
        """Begin to run a block, of which the first command that fails is the last.

        One that ``asks`` reads what is typed next; Ctrl-C would end it without a word of its exit code.
        """
        self._begin = self._output.stat().st_size
        self._count += 1
        self._block.write_text(_SCRIPT.format(block=block), encoding="utf-8")
        between = "; " if asks else " < /dev/null\n"
        typed = f""". "{self._block}"{between}printf '\\n{self._mark}%s\\n' $?\n"""
        os.write(self._keys, typed.encode())

    def wait_for(self, pattern: str, within: float = 60) -> str:
        """Wait until what the block has printed matches; what that was."""
        deadline = time.monotonic() + within
        while not re.search(pattern, told := self._told(), re.MULTILINE):
            ended = self._bash.poll() is not None or (self._mark not in pattern and self._mark in told)
            assert not ended, f"ended before it printed {pattern!r}:\n{told}"
            assert time.monotonic() < deadline, f"printed no {pattern!r} within {within:g} s:\n{told}"
            time.sleep(0.05)
        return told

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._keys, CTRL_C)

    def finish(self, within: float = 60) -> tuple[int, str]:
        """Wait until the block has ended: the exit code, and what it has printed."""
        told, _, code = self.wait_for(rf"^{self._mark}\d+$", within).partition(self._mark)
        return int(code.split()[0]), told

    def _well(self, block: str, within: float = 60) -> str:
        code, told = self.finish(within)
        assert code == 0, f"exit code {code}:\n{block}\n{told}"
        return told

    @property
    def _mark(self) -> str:
        return f"block {self._count} ended with "

    def _told(self) -> str:
        return self._output.read_bytes()[self._begin :].decode(errors="replace")

    def _jobs(self) -> set[int]:
        """The process groups that it has started: of each job, its first process leads one."""
        try:
            children = Path(f"/proc/{self._bash.pid}/task/{self._bash.pid}/children").read_text(encoding="ascii")
        except OSError:
            return set()
        return {int(child) for child in children.split()}


def _screen(output: Path) -> int:
    """A terminal to print on; a thread copies what is printed to the file, until nobody has the terminal open any more."""
    shown, sink = pty.openpty()
    termios.tcsetwinsize(sink, (40, 120))
    plain = termios.tcgetattr(sink)
    plain[1] &= ~termios.OPOST  # ends of lines as they were written
    termios.tcsetattr(sink, termios.TCSANOW, plain)

    def copy() -> None:
        with output.open("wb", buffering=0) as file, suppress(OSError):  # what reading raises at the end
            while True:
                file.write(os.read(shown, 65536))
        os.close(shown)

    threading.Thread(target=copy, name="copies a screen", daemon=True).start()
    return sink
