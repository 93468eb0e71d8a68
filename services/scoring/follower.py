"""Following ``models`` and ``parameters``: what this process serves now, and what it refused.

Decisions (aliases) and live state arrive at any time; what the aliases ask for is assembled as soon as it is at hand,
and lanes take it between two turns. Whatever is refused leaves the old state serving and raises an alert. Both topics are
read from their start: of what lay in them when the process began, only the newest record is judged.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog

from schemas.alerts import Position
from schemas.models import AliasRecord
from schemas.parameters import LiveParameters
from schemas.topics import topic_name
from services.domain import live, snapshot
from services.domain.registry_api import CHALLENGER_PREFIX, CHAMPION
from services.domain.served import Live, Part, Served, assemble
from services.domain.signing import SignatureError
from services.runtime import interpreter, metrics
from services.runtime.errors import OperatorError
from services.runtime.registry_client import RegistryDenied, RegistryError, RegistryUnavailable
from services.runtime.settings import SettingsError
from services.runtime.snapshots import SnapshotCache
from services.scoring.alerts import REASONS, Refusals, reason_of

_DECISION = msgspec.json.Decoder(AliasRecord)
_RETRY_S = 2.0
_REFUSED_RETRY_S = 30.0
"""What a person has to put right takes its time, and every attempt is a line in both logs."""
_LIVE_WITHIN_S = 5.0
_MAX_CAME_IN = 2000
_log = structlog.get_logger()


class NoChampionError(OperatorError):
    """The only champion cannot be used; the learner may yet publish another."""


class Follower:
    """Keeps ``served`` up to date; ``generation`` counts its swaps. Call :meth:`run` once, hand records to the others."""

    def __init__(self, name: str, keys: Sequence[bytes], cache: SnapshotCache) -> None:
        self.served: Served | None = None
        self.generation = 0
        self.refusals = Refusals(name)
        self._name = name
        self._keys = keys
        self._cache = cache
        self._aliases: dict[str, AliasRecord] = {}
        self._decided: dict[str, Position] = {}
        self._good: dict[str, AliasRecord] = {}
        self._live = Live()
        self._stored: dict[str, Part] = {}
        self._refused: dict[str, int] = {}  # the decision that cannot be followed, by alias; a later one is tried
        self._hopeless: OperatorError | None = None
        self._came_in: list[tuple[int, int]] = []
        self._started_ms = time.time_ns() // 1_000_000
        self._decisions_read = asyncio.Event()
        self._wake = asyncio.Event()
        self._first = asyncio.Event()
        for reason in REASONS:  # an increase from nothing is none to Prometheus
            metrics.REFUSED.labels(reason)
        for how in ("live", "version"):
            metrics.SWAPS.labels(how)
        metrics.STALENESS_SECONDS.set_function(self._staleness)

    async def ready(self) -> None:
        """Wait until there is a champion to serve.

        NoChampionError when the only one is signed with another key, SettingsError when our token does not get it.
        """
        await self._first.wait()
        if self.served is None and self._hopeless is not None:
            raise self._hopeless

    async def on_decision(self, value: bytes, offset: int, behind: bool = False) -> None:
        """A record of ``models``; a lower revision of an alias is ignored.

        While it is ``behind`` (:class:`Handler`), what it asks for may have been decided anew, and is not yet loaded.
        """
        here = self._at("models", offset)
        if not behind:
            self._decisions_read.set()
        try:
            record = _DECISION.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse("undecodable", "models", f"a record of models cannot be read: {error}", here, behind=behind)
            return
        self.refusals.accepted("models", here)
        known = self._aliases.get(record.alias)
        if record.name == self._name and (known is None or record.revision > known.revision):
            self._aliases[record.alias] = record
            self._decided[record.alias] = here
            self._wake.set()

    async def on_parameters(self, value: bytes, offset: int, behind: bool = False) -> None:
        """A record of ``parameters``: served if it is signed by us and newer than what is served.

        One that is ``behind`` (:class:`Handler`) and cannot be served may be signed with a key that is long gone.
        """
        here = self._at("parameters", offset)
        try:
            parameters = live.unseal(value, self._keys)
            if live.position(parameters) <= self._live.position and not self._renamed(parameters):
                return
            read = live.read(parameters, self._name)
        except SignatureError as error:
            self._refuse("signature", "parameters", str(error), here, behind=behind)
            return
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, KeyError) as error:
            self._refuse("undecodable", "parameters", f"live parameters cannot be read: {error}", here, behind=behind)
            return
        self.refusals.accepted("parameters", here)
        self._live = read if read.parts else Live(self._live.parts, read.encodings, read.position)
        now = time.time_ns() // 1_000_000
        fresh = [(came_in, now) for came_in in parameters.labels_came_in_ms if came_in >= self._started_ms]
        self._came_in = (self._came_in + fresh)[-_MAX_CAME_IN:]
        self._assemble("live")

    def _renamed(self, parameters: LiveParameters) -> bool:
        """Whether the same state has got new version numbers: a version was published of it."""
        return live.position(parameters) == self._live.position and any(
            (part := self._live.parts.get(name)) is None or part.ref.version < candidate.version
            for name, candidate in parameters.candidates.items()
        )

    def take_came_in(self) -> list[tuple[int, int]]:
        """The labels that the served state has learned since the last call: when each came in and was first served, ms.

        Labels from before this process began are left out: they tell how long it was away.
        """
        came_in, self._came_in = self._came_in, []
        return came_in

    def restored(self, opened: Sequence[tuple[str, int]]) -> None:
        """Incidents that the last process with a lane of ours had open: they end with what is served now."""
        self.refusals.restored(opened)
        self._wake.set()

    async def run(self) -> None:
        """Fetch, verify and load the snapshots that the aliases need, once all decisions have been read, for ever."""
        await self._decisions_read.wait()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if pause := await self._load_needed():
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.set()

    async def _load_needed(self) -> float:
        """Load what is missing, champion first; the seconds after which it is worth trying again, 0 when nothing is."""
        pause = 0.0
        for record in sorted(self._aliases.values(), key=lambda it: it.alias != CHAMPION):
            if self._aliases[record.alias] is record and self._needed(record):
                pause = max(pause, await self._load(record))
        self._assemble("version")
        return pause

    def _needed(self, record: AliasRecord) -> bool:
        return self._refused.get(record.alias) != record.revision and not self._at_hand(record)

    def _at_hand(self, record: AliasRecord) -> bool:
        """Whether there is what the alias asks for: the snapshot, or live state that has seen as much.

        Live state falls behind for good once it is too large to be published: from then on versions are followed.
        """
        current = self._live.parts.get(record.candidate) if record.live else None
        seen = current is not None and current.position >= (record.log_id, record.examples_offset)
        return seen or record.snapshot_sha256 in self._stored

    async def _load(self, record: AliasRecord) -> float:
        """Load one snapshot; the seconds after which it is worth trying again, 0 when it was loaded or never will be."""
        sha256, what = record.snapshot_sha256, f"version {record.version} of {record.candidate}"
        try:
            if record.size > snapshot.MAX_BYTES:
                raise snapshot.SnapshotError(f"{what} has {record.size} bytes: at most {snapshot.MAX_BYTES} are read")
            blob = await self._cache.get(self._name, record.version, sha256, record.size)
            self._stored[sha256] = await asyncio.to_thread(self._opened, blob, record)
        except RegistryUnavailable as error:
            _log.warning("a snapshot cannot be fetched; trying again", version=record.version, error=str(error))
            return _RETRY_S
        except (RegistryError, OSError, ValueError, KeyError) as error:
            if self._aliases[record.alias] is not record:  # decided anew meanwhile, as in what is read at a start
                return 0.0
            cause, told = f"{record.alias}/{record.version}", f"{what} is refused: {error}"
            self._refuse(reason_of(error), cause, told, self._decided[record.alias], record)
            await self._end_without(record, error)
            if isinstance(error, (RegistryDenied, OSError)):  # somebody may put it right
                return _REFUSED_RETRY_S
            self._refused[record.alias] = record.revision
        return 0.0

    async def _end_without(self, record: AliasRecord, error: Exception) -> None:
        """Give up waiting for a champion that only an operator can make usable, if nothing else is served."""
        if record.alias != CHAMPION or not isinstance(error, (SignatureError, RegistryDenied)):
            return
        if record.live:  # live state is read at the same time, and may do
            with suppress(TimeoutError):
                async with asyncio.timeout(_LIVE_WITHIN_S):
                    await self._first.wait()
        if self.served is None:
            why, advice = f"there is no champion to serve: {error}", "Give scoring the learner's RIVERMILL_SIGNING_KEY"
            denied = isinstance(error, RegistryDenied)
            self._hopeless = SettingsError(why) if denied else NoChampionError(f"{why}. {advice}")
            self._first.set()

    def _opened(self, blob: bytes, record: AliasRecord) -> Part:
        """In a thread of its own: lanes go on meanwhile."""
        with interpreter.building():
            return snapshot.read(blob, record.signature, self._keys).part(record.version)

    def _assemble(self, how: str) -> None:
        """Serve what the aliases ask for; an alias whose new state is not at hand keeps its last good one."""
        for alias, record in self._aliases.items():
            if self._at_hand(record):
                self._good[alias] = record
                self.refusals.recovered(record, self._decided[alias])
            elif record.live and record.candidate in self._live.parts:
                self._good.setdefault(alias, record)  # older live state is better than none
        used = {record.snapshot_sha256 for record in (*self._good.values(), *self._aliases.values())}
        self._stored = {sha256: part for sha256, part in self._stored.items() if sha256 in used}
        champion = self._good.get(CHAMPION)
        if champion is None:
            return
        challengers = [it for name, it in sorted(self._good.items()) if name.startswith(CHALLENGER_PREFIX)]
        served = assemble(champion, challengers, self._live, self._stored)
        if served is None:
            return
        self.served = served
        self.generation += 1
        self._first.set()
        metrics.SWAPS.labels(how).inc()
        ref = served.champion.ref
        metrics.SERVED_VERSION.clear()
        metrics.SERVED_VERSION.labels(ref.candidate).set(ref.version)
        metrics.SERVED_OFFSET.set(ref.examples_offset)
        metrics.SERVED_CHALLENGERS.set(served.challengers)
        metrics.SERVED_MODEL.clear()
        metrics.SERVED_MODEL.labels(ref.candidate, str(not champion.live).lower(), champion.spec).set(1)

    def _staleness(self) -> float:
        """The champion's own age: a pinned one grows old, whatever the log has learned since."""
        came_in_ms = self.served.champion.label_came_in_ms if self.served else 0
        return max(0.0, time.time() - came_in_ms / 1000) if came_in_ms else math.nan

    def _at(self, stream: str, offset: int) -> Position:
        return Position(topic_name(self._name, stream), 0, offset)

    def _refuse(
        self,
        reason: str,
        cause: str,
        message: str,
        position: Position,
        record: AliasRecord | None = None,
        *,
        behind: bool = False,
    ) -> None:
        if behind:
            return
        metrics.REFUSED.labels(reason).inc()
        _log.error("refused; the old state keeps serving", cause=cause, error=message)
        self.refusals.refused(cause, message, position, record)
