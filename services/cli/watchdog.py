"""A process group whose members end when this process is gone, however that came about."""

from __future__ import annotations

import subprocess

# Its standard input closes when the process that holds the other end is gone, even by SIGKILL. The group then has
# nine seconds to end well.
_SCRIPT = 'trap "" TERM; read -r _; kill -TERM 0; sleep 9; kill -KILL 0'


class Watchdog:
    """A small shell that leads a process group (``group``); put children into it with ``process_group=``.

    The group is no foreground group of the terminal: Ctrl-C reaches only this process, which stops the others in order.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - constant script, no user input
            ["/bin/sh", "-c", _SCRIPT, "rivermill-watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    @property
    def group(self) -> int:
        """The process group to start children in."""
        return self._process.pid

    def dismiss(self) -> None:
        """All children have ended: no need to watch."""
        self._process.kill()
        self._process.communicate()
