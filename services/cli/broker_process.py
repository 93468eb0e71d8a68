"""A Kafka process of the embedded broker: it ends with the process that started it, and can be stopped or killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Ends Kafka ($1) when the process at the other end of its standard input is gone, however that came about.
_WATCHDOG = (
    "read -r _; kill -TERM $1; i=0; while kill -0 $1 && [ $i -lt 80 ]; do sleep 0.1; i=$((i+1)); done; kill -KILL $1"
)


class BrokerProcess:
    """Runs ``command`` until it ends or is ended; what it prints goes to ``out``."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], out: Path, *, detached: bool = False) -> None:
        with out.open("wb") as file:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={"LC_ALL": "C.UTF-8", **env},  # or Java cannot open paths that are not ASCII
                start_new_session=True,  # Ctrl-C is for the process that started us, which stops the broker last
            )
        self._watchdog = None if detached else _watch(self.process.pid)

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.process.poll() is None

    def stop(self, timeout: float) -> None:
        """Stop cleanly; what still runs after ``timeout`` seconds is killed."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.reap()

    def kill(self) -> None:
        """Kill with SIGKILL, as a crash would."""
        self.signal(signal.SIGKILL)
        self.reap()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        self.process.send_signal(number)

    def reap(self) -> None:
        """Wait for its end, and leave nothing behind."""
        self.process.wait()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """A process of its own session that ends the broker when this one is gone (its pipe closes)."""
    return subprocess.Popen(  # noqa: S603 - constant script, no user input
        ["/bin/sh", "-c", _WATCHDOG, "broker-watchdog", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
