"""The registry's HTTP API as Structs: what a client sends and what it gets back, under ``/api/v1``.

Times are RFC 3339 UTC. Bodies are JSON, except that a version is posted as ``multipart/form-data`` with two parts:
``manifest`` (:class:`NewVersion` as JSON) and ``snapshot`` (the bytes). Errors are RFC 9457 problem details
(:class:`Problem`).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Literal

import msgspec

MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024
MAX_SPEC_BYTES = 1024 * 1024
MAX_VERSION = 2**31 - 1
MAX_PAGE = 1000
MAX_KEEP = 100_000
"""Versions of a candidate that may be kept in full."""
MAX_REASON = 500
CHAMPION = "champion"
CHALLENGER_PREFIX = "challenger-"

_ILLEGIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_END = r"$(?!\n)"  # Python's $ alone also matches before a last line feed; this is the end in JSON Schema too
NAME = rf"^[a-z0-9][a-z0-9_-]{{0,63}}{_END}"
"""Pattern of the names of models (pipelines) and candidates."""
ALIAS = rf"^(champion|challenger-[a-z0-9][a-z0-9_-]{{0,63}}){_END}"
SPEC_HASH = rf"^[0-9a-f]{{16,64}}{_END}"

Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Sha256 = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{_END}")]
SpecHash = Annotated[str, msgspec.Meta(pattern=SPEC_HASH)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON)]
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]


def challenger(candidate: str) -> str:
    """The alias of a candidate that is compared with the champion: ``challenger-<candidate>``."""
    return CHALLENGER_PREFIX + candidate


def legible(text: str) -> bool:
    """Whether a text can be stored anywhere and read by a person: one line, without control characters, not blank.

    PostgreSQL stores no U+0000, UTF-8 no lone surrogates. A text of spaces and of Unicode's format characters is blank.
    """
    return not _ILLEGIBLE.search(text) and any(unicodedata.category(each)[0] not in "CZ" for each in text)


class NewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Manifest of a version to publish.

    It is unique by (model name, candidate, spec, log_id, examples_offset): posting it again returns the first.
    ``examples_offset`` is the next offset to fold (exclusive); ``sha256`` is of the snapshot's bytes; ``signature``
    is their hex HMAC-SHA256, which the registry keeps and checks only
    where it has the key, to show the snapshot's manifest; ``keep`` is how many of the candidate's
    versions to keep in full before older ones are thinned. The names of ``metrics`` are :func:`legible`.
    """

    candidate: Name
    spec: SpecHash
    log_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=rf"^[A-Za-z0-9_.:-]+{_END}")]
    examples_offset: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    sha256: Sha256
    signature: Sha256
    metrics: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=64)], float | None], msgspec.Meta(max_length=64)
    ] = {}
    keep: Annotated[int, msgspec.Meta(ge=1, le=MAX_KEEP)] = 200


class Version(msgspec.Struct, frozen=True):
    """One published version. ``state`` is ``thinned`` once its snapshot was removed (it can be refolded)."""

    name: str
    version: int
    candidate: str
    spec: str
    log_id: str
    examples_offset: int
    sha256: str
    signature: str
    size: int
    metrics: dict[str, float | None]
    state: Literal["stored", "thinned"]
    at: datetime
    actor: str


class Alias(msgspec.Struct, frozen=True):
    """What an alias names now. ``live``: it follows its candidate; otherwise it is pinned to this version."""

    name: str
    alias: str
    candidate: str
    version: int
    live: bool
    revision: int
    actor: str
    reason: str
    at: datetime


class SetAlias(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of ``PUT /models/{name}/aliases/{alias}``.

    ``live`` false serves exactly ``version`` until changed. ``live`` true follows the candidate of ``version``, from
    that candidate's newest version on. Setting what is already so changes nothing and adds nothing to the log.
    ``reason`` is :func:`legible`. ``seen`` is the revision of the newest log entry of this alias that the decider has
    seen (0: none): where the log has a newer one, the decision is refused.
    """

    version: VersionNumber
    reason: Reason
    live: bool = True
    seen: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


class Change(msgspec.Struct, frozen=True):
    """One entry of the append-only log: who let which alias name what, when and why."""

    revision: int
    alias: str
    candidate: str
    version: int
    live: bool
    previous: int | None
    actor: str
    reason: str
    at: datetime


class ModelSummary(msgspec.Struct, frozen=True):
    """One model in the list of all."""

    name: str
    versions: int
    latest: int | None
    champion: Alias | None
    created_at: datetime


class Model(msgspec.Struct, frozen=True):
    """A model: its candidates, the champion's first, and its aliases by name."""

    name: str
    candidates: list[str]
    versions: int
    latest: int | None
    revision: int
    aliases: dict[str, Alias]
    created_at: datetime


class VersionPage(msgspec.Struct, frozen=True):
    """Versions, newest first; ``next_before`` asks for the following page (``?before=``), None on the last one."""

    items: list[Version]
    next_before: int | None = None


class ChangePage(msgspec.Struct, frozen=True):
    """Log entries, newest first; paged as :class:`VersionPage` is, by revision."""

    items: list[Change]
    next_before: int | None = None


class ServedAlias(msgspec.Struct, frozen=True):
    """Which version an alias named at a time, and since when."""

    candidate: str
    version: int
    live: bool
    revision: int
    since: datetime


class Served(msgspec.Struct, frozen=True):
    """Answer of ``served?at=``."""

    name: str
    at: datetime
    aliases: dict[str, ServedAlias]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details: what happened (``title``), and what it means and what to do (``detail``)."""

    status: int
    title: str
    detail: str = ""
