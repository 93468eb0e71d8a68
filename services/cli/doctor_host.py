"""What the doctor looks at on this machine: the data directory, the disk, the signing key, the services."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import httpx

from services.cli.doctor import Finding, Patient, look, well, wrong
from services.runtime.settings import Settings

_DISK, _DATA, _KEY, _SERVICES = "disk", "data directory", "signing key", "services"
_LITTLE_BYTES, _LEAST_BYTES = 1_000_000_000, 100_000_000
_READY_S = 5.0
_SHOWN = 160


async def data_directory(settings: Settings) -> list[Finding]:
    """Whether files can be made there; one is made and removed, the directory itself is not."""
    path = settings.data_dir
    place = _existing(path)
    try:
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        return wrong(
            _DATA,
            f"{path} cannot be used ({error.strerror or error})",
            "set RIVERMILL_DATA_DIR to one that can be written",
        )
    return well(_DATA, f"{path} can be written" if place == path.absolute() else f"{path} can be made")


async def disk(settings: Settings) -> list[Finding]:
    """How much room there is where the data directory lies."""
    free = shutil.disk_usage(_existing(settings.data_dir)).free
    told = f"{free / 1e9:,.1f} GB free at {settings.data_dir}"
    if free < _LEAST_BYTES:
        return wrong(_DISK, told, "make room: snapshots, logs and the embedded broker can no longer be written")
    if free < _LITTLE_BYTES:
        return look(_DISK, told, "make room before logs and the embedded broker fill it")
    return well(_DISK, told)


async def signing_key(settings: Settings) -> list[Finding]:
    """Whether there is one; that it is long enough is checked where settings are read."""
    if settings.signing_key is None:
        way_out = "set RIVERMILL_SIGNING_KEY (or _FILE) to the learner's and scoring's secret; `rivermill up` makes one"
        return look(_KEY, "none is set here", way_out)
    previous = ", and the previous one" if settings.signing_key_previous else ""
    return well(_KEY, f"set, {len(settings.signing_key)} characters{previous}")


async def services(patient: Patient) -> list[Finding]:
    """Whether the services that are known answer that they are ready."""
    if not patient.endpoints:
        return look(
            _SERVICES, "none is known here", "name them by --url http://host:port, or the --data-dir of an `up`"
        )
    async with httpx.AsyncClient(timeout=_READY_S, trust_env=False) as client:
        found = await asyncio.gather(*(_ready(client, name, url) for name, url in patient.endpoints.items()))
    unready = [finding for finding in found if finding is not None]
    return unready or well(_SERVICES, f"{len(found)} are ready: {', '.join(patient.endpoints)}")


async def _ready(client: httpx.AsyncClient, name: str, url: str) -> Finding | None:
    what = f"service {name}"
    try:
        answer = await client.get(f"{url}/readyz")
    except httpx.HTTPError as error:
        told = f"{url} does not answer ({type(error).__name__})"
        return Finding(what, "wrong", told, "start it, or read the end of its log")
    if answer.is_success:
        return None
    told = f"{url}/readyz says {answer.status_code}: {' '.join(answer.text.split())[:_SHOWN]}"
    return Finding(what, "wrong", told, "docs/operating.md, Health, says what it waits for")


def _existing(path: Path) -> Path:
    """The directory itself or, if there is none, the one that it would be made in."""
    candidates: Sequence[Path] = [path.absolute(), *path.absolute().parents]
    return next(each for each in candidates if each.exists())
