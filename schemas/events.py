"""``events.clean``: one validated event, keyed by event id. Written by cleaning, read by scoring."""

from __future__ import annotations

from datetime import datetime

import msgspec

Value = float | str | bool | None
"""A cleaned feature value; None is missing."""


class Change(msgspec.Struct, frozen=True, omit_defaults=False):
    """One repair that cleaning made."""

    field: str
    """The feature."""
    rule: str
    """The rule's name, as in the cleaning rules."""
    before: float | str | bool | None
    """What came, text cut to 256 characters."""
    after: float | str | bool | None
    """What the event has now."""


class CleanEvent(msgspec.Struct):
    """A cleaned event."""

    event_id: str
    """The record's key; an integer id in decimal."""
    time: datetime
    """Event time."""
    features: dict[str, Value]
    """Each feature that is read, by name; null is missing."""
    changes: list[Change]
    """The repairs, in the order they were made."""
    spec: str
    """Hash of the pipeline file that cleaned it."""
