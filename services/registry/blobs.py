"""Snapshots as blobs in an object store: a folder by default, S3 and its like by URL.

A blob's path is ``<model>/<2 digits>/<sha256>``, made of a checked name and a checked digest, never of what a client
calls a file. Both the folder and S3 put atomically: a reader sees all of a blob or none of it.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import HTTPStore, LocalStore, MemoryStore, ObjectStore, from_url

from services.registry.refusals import Damaged
from services.runtime.errors import OperatorError
from services.runtime.settings import SettingsError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

_PROBE = ".rivermill"
_RETRY: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}


class BlobsAwayError(OperatorError):
    """A blob store that was used before takes nothing now."""


class Blobs:
    """Bytes by model name and sha256."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, name: str, sha256: str, data: bytes) -> None:
        """Store ``data``, whose digest the caller has checked; storing it again changes nothing. BaseError if it fails."""
        try:
            obstore.put(self._store, _path(name, sha256), data)
        except FileNotFoundError as error:
            raise NotFoundError(f"the bucket or folder is gone: {error}") from error

    def has(self, name: str, sha256: str, size: int) -> bool:
        """Whether the blob is there in full."""
        try:
            return int(obstore.head(self._store, _path(name, sha256))["size"]) == size
        except FileNotFoundError:
            return False

    def get(self, name: str, sha256: str, size: int) -> bytes:
        """Return the blob; Damaged when it is missing or its bytes are not those that were stored."""
        try:
            found = obstore.get(self._store, _path(name, sha256))
            data = b"" if found.meta["size"] != size else found.bytes().to_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Damaged(
                f"the snapshot {sha256} of {name} is missing from the blob store or was altered there",
                "Restore RIVERMILL_BLOBS from its backup; or promote another version, and let the learner publish anew.",
            )
        return data

    def remove(self, name: str, sha256: str) -> None:
        """Remove the blob if it is there."""
        try:
            obstore.delete(self._store, _path(name, sha256))
        except FileNotFoundError:
            return


def _path(name: str, sha256: str) -> str:
    return f"{name}/{sha256[:2]}/{sha256}"


def _answering(store: ObjectStore) -> ObjectStore:
    """The store, once it has taken a file: an address, a bucket or a right that is wrong shows now, not at a version."""
    obstore.put(store, _PROBE, b"the registry may write here\n")
    return store


def open_blobs(location: str, *, used: bool = False) -> Blobs:
    """Open a folder (made if absent) or an object store's URL; SettingsError says what is wrong with it.

    BlobsAwayError where it is ``used``, because versions lie there: that may pass by itself.
    """
    try:
        if "://" in location:
            store = from_url(location, retry_config=_RETRY)
            if isinstance(store, HTTPStore | MemoryStore):
                raise ValueError("it keeps nothing")
            return Blobs(_answering(store))
        folder = Path(location).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return Blobs(LocalStore(folder, automatic_cleanup=True))
    except (BaseError, OSError, ValueError) as error:
        why = str(error).partition("\n")[0]  # the store's state follows
        kind = BlobsAwayError if used else SettingsError
        raise kind(
            f"RIVERMILL_BLOBS is {location!r} and cannot be used ({why}): expected a folder that can be written to, "
            "or a URL such as s3://bucket/prefix"
        ) from error
