"""What the registry says over HTTP, held against its own log, its blobs and the topics; no code of its own is used."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec

from chaos.facts import Facts
from chaos.script import CANDIDATES, EVERY_EXAMPLES

_PAGE = 500


class Version(msgspec.Struct, frozen=True):
    """A version as the API shows it, what the checks do not look at left out."""

    version: int
    candidate: str
    log_id: str
    examples_offset: int
    sha256: str
    signature: str
    size: int
    state: str


class Alias(msgspec.Struct, frozen=True):
    """What an alias names now, or what an entry of the log let it name."""

    alias: str
    candidate: str
    version: int
    live: bool
    revision: int


class Registry(msgspec.Struct):
    """One model: its versions by number, its aliases, its log (oldest first), and the sizes of the blobs by sha256.

    ``damaged`` are blobs whose bytes are not those that their name says.
    """

    versions: dict[int, Version]
    aliases: dict[str, Alias]
    log: list[Alias]
    blobs: dict[str, int]
    damaged: list[str]


async def gather(url: str, pipeline: str, blobs: Path) -> Registry:
    """Ask the registry for everything, and look through the folder of its blobs."""
    async with httpx.AsyncClient(base_url=f"{url}/api/v1/models/{pipeline}", timeout=30, trust_env=False) as client:
        model = msgspec.json.decode(await _get(client, ""), type=_Model)
        versions = [msgspec.convert(it, Version) async for it in _items(client, "/versions")]
        log = [msgspec.convert(it, Alias) async for it in _items(client, "/log")]
    sizes, damaged = _look(blobs)
    return Registry({it.version: it for it in versions}, model.aliases, log[::-1], sizes, damaged)


def _look(blobs: Path) -> tuple[dict[str, int], list[str]]:
    """Sizes by name, and the names of those whose bytes are others; ``#`` marks one that was never finished."""
    contents = {path.name: path.read_bytes() for path in blobs.rglob("*") if path.is_file() and "#" not in path.name}
    damaged = [name for name, content in contents.items() if hashlib.sha256(content).hexdigest() != name]
    return {name: len(content) for name, content in contents.items()}, damaged


class _Model(msgspec.Struct):
    aliases: dict[str, Alias]


class _Page(msgspec.Struct):
    items: list[Any]
    next_before: int | None = None


async def _get(client: httpx.AsyncClient, path: str, **query: int) -> bytes:
    return (await client.get(path, params=query)).raise_for_status().content


async def _items(client: httpx.AsyncClient, path: str) -> AsyncIterator[Any]:
    page = msgspec.json.decode(await _get(client, path, limit=_PAGE), type=_Page)
    while True:
        for item in page.items:
            yield item
        if page.next_before is None:
            return
        page = msgspec.json.decode(await _get(client, path, limit=_PAGE, before=page.next_before), type=_Page)


def replays(registry: Registry, facts: Facts) -> Iterator[str]:  # noqa: ARG001 - a check's signature
    """The log, replayed, gives the current aliases; a live one has followed its candidate since its entry."""
    replayed = {entry.alias: entry for entry in registry.log}
    for name in replayed.keys() | registry.aliases.keys():
        entry, now = replayed.get(name), registry.aliases.get(name)
        if entry is None or now is None:
            yield f"alias {name}: the log says {entry}, the registry {now}"
        elif (entry.candidate, entry.live) != (now.candidate, now.live):
            yield f"alias {name}: by the log {entry.candidate} (live: {entry.live}), now {now.candidate} ({now.live})"
        elif now.version < entry.version if now.live else now.version != entry.version:
            yield f"alias {name}: by the log version {entry.version}, now {now.version}"
    for before, after in pairwise(registry.log):
        if before.revision >= after.revision:
            yield f"the log has revision {after.revision} after {before.revision}"


def tells(registry: Registry, facts: Facts) -> Iterator[str]:
    """``models`` tells the current aliases."""
    for name, now in registry.aliases.items():
        told = facts.aliases.get(name)
        if told is None or (told.candidate, told.version, told.live) != (now.candidate, now.version, now.live):
            yield f"alias {name} is {now}, on the topic it is {told}"


def blobs(registry: Registry, facts: Facts) -> Iterator[str]:
    """Every stored version has its blob, whole; what an alias names or a record of ``models`` names is stored."""
    yield from (f"blob {name} is not what its name says" for name in registry.damaged)
    for it in registry.versions.values():
        if it.state == "stored" and registry.blobs.get(it.sha256) != it.size:
            yield f"version {it.version}: its blob {it.sha256} of {it.size} bytes is missing"
    named = [(name, alias.version) for name, alias in registry.aliases.items()]
    for name, number in [*named, *((name, record.version) for name, record in facts.aliases.items())]:
        version = registry.versions.get(number)
        if version is None or version.state != "stored":
            yield f"alias {name} names version {number}, which is {'not there' if version is None else version.state}"


def offsets(registry: Registry, facts: Facts) -> Iterator[str]:
    """Every snapshot's offset lies within ``examples``."""
    for it in registry.versions.values():
        if not 0 < it.examples_offset <= facts.examples_end:
            yield f"version {it.version} is of offset {it.examples_offset}, examples end at {facts.examples_end}"


def recent(registry: Registry, facts: Facts) -> Iterator[str]:
    """Every candidate was published more than once, and last with all but the newest examples.

    Twice as many as make a snapshot due may be newer: the last one may still be on its way.
    """
    for candidate in CANDIDATES:
        offsets = [it.examples_offset for it in registry.versions.values() if it.candidate == candidate]
        newer = sum(it.offset >= max(offsets, default=0) for it in facts.examples)
        if len(offsets) < 2 or newer > 2 * EVERY_EXAMPLES:  # noqa: PLR2004 - the first is of an empty log
            yield f"candidate {candidate} has {len(offsets)} versions, and {newer} examples are newer than the last"


CHECKS: dict[str, Callable[[Registry, Facts], Iterator[str]]] = {
    "the registry's log replays to its aliases": replays,
    "the topic tells the registry's aliases": tells,
    "no referenced blob is missing": blobs,
    "snapshots lie within the log": offsets,
    "the newest snapshots are recent": recent,
}
