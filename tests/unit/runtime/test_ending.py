from __future__ import annotations

import json
import subprocess
import sys

import pytest

_HANGS = """
import logging, threading
from services.runtime import logs
from services.runtime.ending import Ending
logs.configure("it")
ending = Ending(0.2)
ending.code = {code}
ending.begin()
ending.begin()
{holds}
threading.Thread(target=threading.Event().wait).start()  # Python itself would wait for it
"""


def ended(code: int | None, holds: str = "") -> subprocess.CompletedProcess[str]:
    program = _HANGS.format(code=code, holds=holds)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(("code", "exits"), [(None, 1), (0, 0), (2, 2)])
def test_what_never_ends_is_ended_and_says_so(code: int | None, exits: int) -> None:
    """A process that hangs after it was told to end is gone, with the exit code that was set, and one line about it."""
    done = ended(code)
    assert done.returncode == exits
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["service"], line["exit_code"]) == ("error", "it", exits)


def test_a_log_that_is_held_holds_nothing_up() -> None:
    """Whoever holds the log's lock when the process hangs does not keep the process."""
    assert ended(0, holds="logging.getLogger().handlers[0].acquire()").returncode == 0
