"""Alerts that scoring raises: a snapshot or live parameters that it refused to serve.

Every process raises its own, with an id made from version and cause, so that consumers may see one of them twice and
know it for the same.
"""

from __future__ import annotations

import time

from schemas.alerts import Position
from schemas.models import AliasRecord
from schemas.predictions import ModelRef
from services.domain import model_alerts
from services.domain.records import Out

_MAX_OPEN = 100


class Refusals:
    """Open incidents by cause, and the alerts that wait to be sent (at most 100 of each)."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._open: dict[str, tuple[str, str, int]] = {}
        self._pending: list[Out] = []

    def refused(self, cause: str, message: str, position: Position, record: AliasRecord | None) -> None:
        """What lies at ``position`` was refused; told once a cause."""
        if cause in self._open or len(self._open) >= _MAX_OPEN:
            return
        number = record.revision if record else position.offset  # tells one episode from the next
        self._open[cause] = (record.alias if record else cause, message, number)
        self._raise(cause, message, record, number, position, resolved=False)

    def recovered(self, record: AliasRecord, position: Position) -> None:
        """The alias is served as asked, by another version or by one it had before: what was refused for it is over."""
        for cause in [cause for cause, (alias, _, _) in self._open.items() if alias == record.alias]:
            _, message, number = self._open.pop(cause)
            told = f"{message}; version {record.version} is served now"
            self._raise(cause, told, record, number, position, resolved=True)

    def accepted(self, cause: str, position: Position) -> None:
        """What this cause is about is as it should be again."""
        if cause in self._open:
            _, message, number = self._open.pop(cause)
            self._raise(cause, f"{message}; a later record is good", None, number, position, resolved=True)

    def take(self) -> list[Out]:
        """The alerts to send now."""
        pending, self._pending = self._pending, []
        return pending

    def _raise(
        self, cause: str, message: str, record: AliasRecord | None, number: int, position: Position, *, resolved: bool
    ) -> None:
        model = ModelRef(record.name, record.candidate, record.version, record.examples_offset) if record else None
        alert = model_alerts.alert(
            model_alerts.incident_id(self._pipeline, "scoring", cause, number), cause, message, position,
            time.time_ns() // 1_000_000, model=model, resolution="recovered" if resolved else None,
        )  # fmt: skip
        self._pending = [*self._pending, alert][-_MAX_OPEN:]
