"""What a snapshot says of its making, for the page of its version.

The signature is verified first, as everywhere: a registry without the signing key reads no snapshot.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import msgspec
from obstore.exceptions import BaseError

from services.domain import snapshot
from services.domain.signing import SignatureError
from services.registry.blobs import Blobs
from services.registry.refusals import Damaged
from services.registry.tables import STORED, VersionRow

_KEPT = 64


class Made(msgspec.Struct, frozen=True):
    """Library versions, examples learned, how the model is written, and the canary events."""

    versions: dict[str, str]
    examples: int
    codec: str
    canaries: list[snapshot.Canary]


class Manifests:
    """Manifests of snapshots, the last ones opened kept in memory; ``keys`` are the signing keys, if any."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, str], Made] = OrderedDict()

    def made(self, blobs: Blobs, row: VersionRow) -> Made | str:
        """Return what a version's snapshot says, or in words why that is not known."""
        if not self._keys:
            return "The registry has no signing key (RIVERMILL_SIGNING_KEY), so it opens no snapshot."
        if row.state != STORED:
            return "The snapshot was thinned. It can be rebuilt from the examples."
        key = row.sha256, row.signature
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        try:
            made = self._read(blobs, row)
        except (SignatureError, snapshot.SnapshotError, Damaged, BaseError) as error:
            return f"The snapshot was not opened: {error}."
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def _read(self, blobs: Blobs, row: VersionRow) -> Made:
        blob = blobs.get(row.name, row.sha256, row.size)
        manifest = snapshot.read(blob, row.signature, self._keys).manifest
        return Made(manifest.versions, manifest.examples, manifest.codec, manifest.canaries)
