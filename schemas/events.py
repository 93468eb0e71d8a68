"""``events.clean``: one validated event, keyed by event id. Written by cleaning, read by scoring."""

from __future__ import annotations

from datetime import datetime

import msgspec

Value = float | str | bool | None
"""A cleaned feature value; None is missing."""


class Change(msgspec.Struct, frozen=True, omit_defaults=False):
    """One repair that cleaning made: ``before`` is what came (text of at most 256 characters), ``after`` what left."""

    field: str
    rule: str
    before: float | str | bool | None
    after: float | str | bool | None


class CleanEvent(msgspec.Struct):
    """A cleaned event. ``time`` is event time (UTC); ``spec`` the hash of the pipeline file that cleaned it."""

    event_id: str
    time: datetime
    features: dict[str, Value]
    changes: list[Change]
    spec: str
