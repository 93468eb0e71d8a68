"""The data directory of ``rivermill up`` and ``demo``: whose it is, its signing key, and where things listen."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from services.runtime.settings import SettingsError

LOCK = "up.lock"
"""Held by what runs on a data directory; it stays behind, empty."""
_FILE, _KEY = "running.json", "signing.key"


class Running(msgspec.Struct, frozen=True):
    """What runs on a data directory: written once all is ready, for the other commands to find it."""

    pid: int
    pipeline: str
    broker: str
    registry: str
    endpoints: dict[str, str]


_RUNNING = msgspec.json.Decoder(Running)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; SettingsError when another holds it. A kill releases it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / LOCK).open("a+")
    except OSError as error:
        raise SettingsError(
            f"the data directory {data_dir} cannot be used ({error}): choose another with --data-dir or "
            "RIVERMILL_DATA_DIR"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(
                f"another `rivermill up` runs on {data_dir}: stop it (Ctrl-C there), or give this one a directory of its "
                "own with --data-dir"
            ) from error
        try:
            yield
        finally:
            (data_dir / _FILE).unlink(missing_ok=True)


def tell(data_dir: Path, running: Running) -> None:
    """Leave word of what runs; replaced at once, never half-written."""
    fresh = data_dir / f"{_FILE}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(running)))
    fresh.replace(data_dir / _FILE)


def find(data_dir: Path) -> Running | None:
    """What runs on a data directory; None when nothing does (a file left by a killed process does not count)."""
    try:
        found = _RUNNING.decode((data_dir / _FILE).read_bytes())
        with (data_dir / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return found
    except (OSError, msgspec.MsgspecError):
        return None
    return None


def signing_key(data_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The environment that gives services their signing key: the caller's own, or a file made once with mode 0600."""
    if env.get("RIVERMILL_SIGNING_KEY") or env.get("RIVERMILL_SIGNING_KEY_FILE"):
        return {}
    path = data_dir / _KEY
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return {"RIVERMILL_SIGNING_KEY_FILE": str(path.absolute())}


def key_file(data_dir: Path) -> Path | None:
    """The file of a signing key that was made here; None when there is none."""
    path = (data_dir / _KEY).absolute()
    return path if path.is_file() else None
