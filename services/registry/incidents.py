"""What the ``alerts`` topics tell of all models, as incidents: in memory, the newest thousand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from threading import Lock

import msgspec

from schemas.alerts import Alert

MOST = 1000
"""Incidents kept; beyond it the oldest resolved ones are forgotten first."""


class Incident(msgspec.Struct):
    """One incident: when its first and its newest alert came in (not event times), and the newest alert itself."""

    model: str
    opened: datetime
    told: datetime
    newest: Alert

    @property
    def is_open(self) -> bool:
        """Whether the newest alert leaves it open."""
        return self.newest.state != "resolved"


class Incidents:
    """Alerts folded by incident; one thread writes, others read."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._found: dict[tuple[str, str], Incident] = {}

    def take(self, model: str, alert: Alert, came_in: datetime) -> None:
        """Fold an alert; one told twice changes nothing."""
        key = model, alert.incident_id
        with self._lock:
            known = self._found.get(key)
            if known is None or (not known.is_open and alert.state == "opened"):
                self._found.pop(key, None)  # opened again: it is the newest
                self._found[key] = Incident(model, came_in, came_in, alert)
            else:
                known.newest, known.told = alert, came_in
            if len(self._found) > self._most:
                self._forget_one()

    def forget(self, model: str) -> None:
        """Drop what is known of a model: its topic is gone or was made anew."""
        with self._lock:
            self._found = {key: kept for key, kept in self._found.items() if key[0] != model}

    def of(self, model: str) -> list[Incident]:
        """The incidents of a model, open ones first, the newest first of each."""
        with self._lock:
            found = [msgspec.structs.replace(each) for each in self._of(model)]
        found.reverse()
        return sorted(found, key=lambda each: not each.is_open)

    def open(self, model: str) -> int:
        """How many incidents of a model are open."""
        with self._lock:
            return sum(each.is_open for each in self._of(model))

    def _of(self, model: str) -> Iterator[Incident]:
        return (each for each in self._found.values() if each.model == model)

    def _forget_one(self) -> None:
        resolved = (key for key, each in self._found.items() if not each.is_open)
        self._found.pop(next(resolved, None) or next(iter(self._found)))
