"""Snapshots by content: a local cache, and the registry behind it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path

import structlog

from services.domain.registry_api import MAX_SNAPSHOT_BYTES
from services.runtime.registry_client import RegistryClient

_log = structlog.get_logger()
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEEP = 64


class SnapshotCache:
    """Snapshots in a folder by sha256, at most 64 of them; what is not there comes from the registry.

    Nothing is trusted for being in the cache: bytes are compared with their sha256 each time they are read, and their
    signature is the reader's to verify.
    """

    def __init__(self, folder: Path, client: RegistryClient) -> None:
        self._folder = folder
        self._client = client

    async def get(self, name: str, version: int, sha256: str, size: int = MAX_SNAPSHOT_BYTES) -> bytes:
        """The bytes with this sha256; RegistryError when they cannot be had, SnapshotRefused when others come."""
        cached = await asyncio.to_thread(self._read, sha256)
        if cached is not None:
            return cached
        blob = await self._client.snapshot(name, version, sha256, min(size, MAX_SNAPSHOT_BYTES))
        await self.put(blob)
        return blob

    async def put(self, blob: bytes) -> str:
        """Keep the bytes if the folder takes them; returns their sha256."""
        sha256 = hashlib.sha256(blob).hexdigest()
        try:
            await asyncio.to_thread(self._write, sha256, blob)
        except OSError as error:
            _log.warning("a snapshot cannot be cached; it will be fetched when it is needed", error=str(error))
        return sha256

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not a sha256 in hexadecimal")
        return self._folder / sha256

    def _read(self, sha256: str) -> bytes | None:
        path = self._path(sha256)
        try:
            if path.stat().st_size > MAX_SNAPSHOT_BYTES:
                return None
            blob = path.read_bytes()
            path.touch()  # what is used stays
        except OSError:
            return None
        return blob if hashlib.sha256(blob).hexdigest() == sha256 else None

    def _write(self, sha256: str, blob: bytes) -> None:
        path = self._path(sha256)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(blob)
        temporary.replace(path)
        for stale in sorted(self._folder.iterdir(), key=_age)[_KEEP:]:
            stale.unlink(missing_ok=True)


def _age(file: Path) -> float:
    """Newest first; what another process has removed meanwhile comes last."""
    try:
        return -file.stat().st_mtime
    except OSError:
        return 0.0
