"""`rivermill top` on a terminal of 80 columns and 24 rows, as a person has it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

CTRL_C = b"\x03"
_HOME = "\x1b[H"
"""What begins a screen."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_LOOKS = 3


def watched(arguments: Sequence[str], until: str, key: bytes) -> tuple[list[str], int, bool]:
    """Watch until a screen matches, and two looks more; press the key (Ctrl-C comes as its signal).

    Returns the last screen that was whole, the exit code, and whether the terminal was left as it had been.
    """
    command = [sys.executable, "-m", "services.cli", "top", "--every", "0.3", *arguments]
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, 80))
        before = termios.tcgetattr(theirs)
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env | {"TERM": "xterm"}
        ) as process:
            screens = _screens(ours, until)
            if key == CTRL_C:
                process.send_signal(signal.SIGINT)
            else:
                os.write(ours, key)
            code = _ended(process, ours)
        return screens[-2], code, termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def _ended(process: subprocess.Popen[bytes], terminal: int) -> int:
    """Its exit code; what it still writes is read, or it would wait for that."""
    deadline = time.monotonic() + 15
    while process.poll() is None:
        assert time.monotonic() < deadline, "it did not end"
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 65536)
    return process.wait()


def _screens(terminal: int, until: str) -> list[list[str]]:
    written, wanted = "", 0
    while not wanted or written.count(_HOME) < wanted:
        assert select.select([terminal], [], [], 30)[0], f"no more came after: {written[-2000:]}"
        written += os.read(terminal, 65536).decode(errors="replace")
        if not wanted and re.search(until, _CONTROL.sub("", written)):
            wanted = written.count(_HOME) + _LOOKS
    return [_CONTROL.sub("", screen).split("\r\n") for screen in written.split(_HOME)]
