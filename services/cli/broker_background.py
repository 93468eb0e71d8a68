"""``rivermill broker start`` and ``stop``: a broker that outlives the command, found again by its pid file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.cli.broker import STOP_TIMEOUT_S, Broker, Progress
from services.cli.broker_directory import BrokerError, in_use


class Running(msgspec.Struct, frozen=True):
    """What the pid file says."""

    pid: int
    address: str


_RUNNING = msgspec.json.Decoder(Running)


def start(
    data_dir: Path, *, port: int = 0, env: Mapping[str, str] = os.environ, progress: Progress = lambda _: None
) -> str:
    """Start a broker on ``data_dir`` that outlives this process, or find the one that runs; its bootstrap address."""
    running = _running(data_dir)
    if running is not None:
        if port and not running.address.endswith(f":{port}"):
            raise BrokerError(f"a broker already runs on {data_dir} at {running.address}: stop it first")
        return running.address
    broker = Broker(data_dir, port=port, env=env, detached=True)
    address = broker.start(progress)
    if broker.process is not None:
        _pid_file(data_dir).write_bytes(msgspec.json.encode(Running(broker.process.pid, address)))
    return address


def stop(data_dir: Path, timeout: float = STOP_TIMEOUT_S) -> bool:
    """Stop the broker that runs on ``data_dir``, killing it after ``timeout`` seconds; False if none ran."""
    running = _running(data_dir)
    if running is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(running.pid, number)
        except ProcessLookupError:
            break
        if _gone(data_dir, timeout):
            break
    _pid_file(data_dir).unlink(missing_ok=True)
    return True


def address(data_dir: Path) -> str | None:
    """Bootstrap address of the broker that runs on ``data_dir`` in the background, if one does."""
    running = _running(data_dir)
    return running.address if running else None


def _pid_file(data_dir: Path) -> Path:
    return data_dir / "broker.pid"


def _running(data_dir: Path) -> Running | None:
    """What the pid file says, if there is one and a living broker holds the directory (else it is left from a crash)."""
    try:
        content = _pid_file(data_dir).read_bytes()
        return _RUNNING.decode(content) if in_use(data_dir / "kafka") else None
    except (OSError, msgspec.DecodeError):
        return None


def _gone(data_dir: Path, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while in_use(data_dir / "kafka"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
