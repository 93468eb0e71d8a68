"""Snapshots: one file a candidate version, holding all that scoring, the learner or an auditor needs of it.

``RIVERMILL`` and a format byte; three lengths; the manifest (JSON); what candidates of a fold share (columns,
encodings, metrics; msgpack, deflated); the model (msgpack or pickle, deflated). The signature travels beside the
file, in the registry and on ``models``, and is verified before anything in here is read.
"""

from __future__ import annotations

import platform
import struct
import zlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version as installed
from math import isclose
from typing import Literal

import msgspec

from schemas.events import Value
from schemas.examples import Withdrawn
from schemas.predictions import ModelRef
from services.domain import catalogue, columns, encodings, signing
from services.domain.plan import Plan
from services.domain.served import Part
from services.domain.spec import Candidate

MAGIC = b"RIVERMILL\x01"
MAX_BYTES = 64 * 1024 * 1024
MAX_INFLATED_BYTES = 512 * 1024 * 1024
CANARIES = 50
TOLERANCE = 1e-9
_LENGTHS = struct.Struct(">III")


class SnapshotError(ValueError):
    """A file that is no snapshot of ours, or one that does not do here what it did where it was made."""


class Canary(msgspec.Struct):
    """A recent event and what the model says to it."""

    features: dict[str, Value]
    encoded: dict[str, list[float]]
    expected: float


class Manifest(msgspec.Struct, kw_only=True):
    """What a snapshot is of. ``pipeline`` is the spec's canonical form, ``versions`` those of python, numpy, river;
    ``withdrawn`` are candidates that the fold had dropped, ``failed_in_a_row`` the last steps of learning, all failed.
    """

    name: str
    candidate: Candidate
    codec: Literal["msgpack", "pickle"]
    spec: str
    pipeline: str
    log_id: str
    examples_offset: int
    label_came_in_ms: int
    examples: int
    metrics: dict[str, float]
    versions: dict[str, str]
    canaries: list[Canary]
    withdrawn: list[Withdrawn] = []
    failed_in_a_row: int = 0


class Shared(msgspec.Struct):
    """What all candidates of the fold had at that offset, and this one's ``metrics`` (the learner's own form)."""

    columns: columns.State
    encodings: encodings.State
    metrics: bytes = b""


_MANIFEST = msgspec.json.Decoder(Manifest)
_SHARED = msgspec.msgpack.Decoder(Shared)


class Snapshot(msgspec.Struct, frozen=True):
    """An opened snapshot, its model still as bytes."""

    manifest: Manifest
    shared: Shared
    payload: bytes

    def model(self, plan: Plan | None = None) -> catalogue.Model:
        """The model; UnlistedError, FactoryError or SnapshotError if it cannot be had here."""
        candidate = self.manifest.candidate
        try:
            return catalogue.load(candidate, plan or self.shared.columns.plan, self.payload)
        except (ValueError, KeyboardInterrupt):
            raise
        except BaseException as error:
            message = (
                f"{_what(self.manifest)} cannot be loaded: {type(error).__name__}: {error}. {_made(self.manifest)}"
            )
            raise SnapshotError(message) from error

    def part(self, version: int) -> Part:
        """The candidate as scoring serves it, after its canaries have been checked."""
        manifest, shared = self.manifest, self.shared
        part = Part(
            ref=ModelRef(manifest.name, manifest.candidate.name, version, manifest.examples_offset),
            log_id=manifest.log_id,
            columns=columns.Columns(shared.columns.plan, shared.columns),
            model=self.model(),
            encodings=encodings.Encodings(shared.columns.plan, shared.encodings).tables(),
            label_came_in_ms=manifest.label_came_in_ms,
        )
        verify_canaries(part.model, part.columns, manifest)
        return part


def write(manifest: Manifest, shared: Shared, payload: bytes) -> bytes:
    """The file. SnapshotError when it is larger than any reader would take."""
    head = msgspec.json.encode(manifest)
    parts = [zlib.compress(msgspec.msgpack.encode(shared), 1), zlib.compress(payload, 1)]
    blob = b"".join([MAGIC, _LENGTHS.pack(len(head), *map(len, parts)), head, *parts])
    if len(blob) > MAX_BYTES:
        message = f"{_what(manifest)} has {len(blob)} bytes, more than the {MAX_BYTES} that are ever read: use a smaller model"
        raise SnapshotError(message)
    return blob


def sign(blob: bytes, key: bytes) -> str:
    """The signature that travels beside the file: hex of its HMAC-SHA256."""
    return signing.sign(blob, key).hex()


def read(blob: bytes, signature: str, keys: Iterable[bytes]) -> Snapshot:
    """Open a file: size first, then the signature, then the content. SignatureError or SnapshotError if it is not right."""
    if len(blob) > MAX_BYTES:
        message = f"a snapshot of {len(blob)} bytes: at most {MAX_BYTES} are ever read"
        raise SnapshotError(message)
    try:
        given = bytes.fromhex(signature)
    except ValueError:
        given = b""
    signing.verify(blob, given, keys, "the snapshot")
    start = len(MAGIC) + _LENGTHS.size
    if not blob.startswith(MAGIC) or len(blob) < start:
        message = "not a snapshot in a format that this release reads: deploy the learner's release here too"
        raise SnapshotError(message)
    ends = _LENGTHS.unpack_from(blob, len(MAGIC))
    if start + sum(ends) != len(blob):
        message = "the snapshot's lengths do not add up to its size"
        raise SnapshotError(message)
    head, shared, payload = (blob[start + sum(ends[:i]) : start + sum(ends[: i + 1])] for i in range(3))
    try:
        return Snapshot(
            _MANIFEST.decode(head),
            _SHARED.decode(_inflate(shared)),
            _inflate(payload),
        )
    except (msgspec.MsgspecError, zlib.error, UnicodeDecodeError) as error:
        message = f"the snapshot cannot be decoded: {error}. Deploy the learner's release here too"
        raise SnapshotError(message) from error


def verify_canaries(model: catalogue.Model, made: columns.Columns, manifest: Manifest) -> None:
    """Raise SnapshotError unless the model says to the canary events what it said where it was made."""
    for canary in manifest.canaries:
        try:
            score = model.score(made.row(canary.features, canary.encoded))
        except Exception as error:
            message = f"{_what(manifest)} cannot score its canary events: {error}. {_made(manifest)}"
            raise SnapshotError(message) from error
        if not isclose(score, canary.expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            message = (
                f"{_what(manifest)} scores a canary event {score!r}, where it was made {canary.expected!r}. "
                + _made(manifest)
            )
            raise SnapshotError(message)


@cache
def versions() -> dict[str, str]:
    """Of what a pickled model depends on."""
    return {"python": platform.python_version(), **{name: installed(name) for name in ("river", "numpy")}}


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(data, MAX_INFLATED_BYTES)
    if not inflater.eof or inflater.unused_data:
        message = f"a part of the snapshot is cut, or inflates to more than {MAX_INFLATED_BYTES} bytes"
        raise SnapshotError(message)
    return inflated


def _what(manifest: Manifest) -> str:
    return f"the snapshot of {manifest.candidate.name} at examples offset {manifest.examples_offset}"


def _made(manifest: Manifest) -> str:
    made = ", ".join(f"{name} {number}" for name, number in sorted(manifest.versions.items()))
    here = ", ".join(f"{name} {number}" for name, number in sorted(versions().items()))
    return f"Made with {made}; here is {here}: run the same versions on both sides"
