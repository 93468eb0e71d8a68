"""Alerts that scoring raises: a snapshot or live parameters that it refused to serve.

Every process raises its own, with an id made from version and cause, so that consumers may see one of them twice and
know it for the same. What is open lies in the checkpoints: whoever has a lane next ends it, if its process is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.alerts import Position
from schemas.models import AliasRecord
from schemas.predictions import ModelRef
from services.domain import model_alerts
from services.domain.records import Out
from services.runtime.registry_client import RegistryError

_REASONS = {"SignatureError": "signature", "SnapshotRefused": "sha256_or_size", "SnapshotError": "snapshot"}
REASONS = (*_REASONS.values(), "undecodable", "registry", "unloadable")
"""Labels of the metric."""
_MAX_OPEN = 100
_MAX_CAUSE = 100
"""Longer ones, which are none of the registry's, stay out of the checkpoints."""


@dataclass(slots=True, eq=False)
class Untold:
    """An alert whose transaction has not committed; ``taken``: a lane is about it."""

    incident: tuple[str, int]
    resolved: bool
    out: Out
    taken: bool = False


class Refusals:
    """Open incidents by cause and number, and the alerts that nobody was told yet (at most 100 of each).

    The number tells one episode from the next: the decision's revision, or the record's offset.
    """

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._open: dict[tuple[str, int], str] = {}  # what was told of it; nothing by us of what was restored
        self._accepted: dict[str, Position] = {}
        self._untold: list[Untold] = []

    def refused(self, cause: str, message: str, position: Position, record: AliasRecord | None) -> None:
        """What lies at ``position`` was refused; told once a cause."""
        told = any(it == cause and told for (it, _), told in self._open.items())
        if told or len(self._open) >= _MAX_OPEN:
            return
        number = record.revision if record else position.offset
        self._open[cause, number] = message
        self._raise(cause, message, record, number, position, resolved=False)

    def recovered(self, record: AliasRecord, position: Position) -> None:
        """The alias is served as asked, by another version or by one it had before: what was refused for it is over.

        Not so what a later decision asked for, which is yet to be read again.
        """
        for cause, number in list(self._open):
            if cause.rpartition("/")[0] == record.alias and number <= record.revision:
                self._resolve(cause, number, f"version {record.version} is served now", record, position)

    def accepted(self, cause: str, position: Position) -> None:
        """A record of the topic that this cause is about can be used: what was refused of it before is over.

        Topics are read from their start again: a record from before the refused one ends nothing.
        """
        self._accepted[cause] = position
        for number in [number for it, number in self._open if it == cause and number < position.offset]:
            self._resolve(cause, number, "a later record is good", None, position)

    def _resolve(self, cause: str, number: int, why: str, record: AliasRecord | None, position: Position) -> None:
        message = self._open.pop((cause, number)) or f"{cause} was refused before this process began"
        self._raise(cause, f"{message}; {why}", record, number, position, resolved=True)

    def standing(self, leaving: Sequence[Untold] = ()) -> Sequence[tuple[str, int]]:
        """What is open, for the checkpoint, and what was but nobody knows: ``leaving`` are the alerts that go with it."""
        ending = [it.incident for it in self._untold if it.resolved and it not in leaving]
        return [(cause, number) for cause, number in dict.fromkeys([*self._open, *ending]) if len(cause) <= _MAX_CAUSE]

    def restored(self, opened: Iterable[tuple[str, int]]) -> None:
        """What a checkpoint says was open. It ends as ours does; if it is refused again, that is told again."""
        for incident in opened:
            if len(self._open) < _MAX_OPEN:
                self._open.setdefault(incident, "")
        for cause, position in self._accepted.items():
            self.accepted(cause, position)

    def take(self) -> list[Untold]:
        """The alerts to send now. Whoever takes them says what became of them: :meth:`told` or :meth:`give_back`."""
        found = [it for it in self._untold if not it.taken]
        for it in found:
            it.taken = True
        return found

    def told(self, alerts: Sequence[Untold]) -> None:
        """These are committed."""
        self._untold = [it for it in self._untold if it not in alerts]

    def give_back(self, alerts: Sequence[Untold]) -> None:
        """These may not be: another lane sends them, perhaps once more."""
        for it in alerts:
            it.taken = False

    def _raise(
        self, cause: str, message: str, record: AliasRecord | None, number: int, position: Position, *, resolved: bool
    ) -> None:
        model = ModelRef(record.name, record.candidate, record.version, record.examples_offset) if record else None
        alert = model_alerts.alert(
            model_alerts.incident_id(self._pipeline, "scoring", cause, number), cause, message, position,
            time.time_ns() // 1_000_000, model=model, resolution="recovered" if resolved else None,
        )  # fmt: skip
        self._untold = [*self._untold, Untold((cause, number), resolved, alert)][-_MAX_OPEN:]


def reason_of(error: Exception) -> str:
    """The label that an error counts under."""
    return _REASONS.get(type(error).__name__, "registry" if isinstance(error, RegistryError) else "unloadable")
