"""What the plots of a model draw: its candidates' metrics over time, with incidents and decisions marked.

Time is when a version was published, and when an alert's cause came in. In a replay event times are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.domain.registry_api import CHAMPION
from services.registry import history, reading
from services.registry.incidents import Incident
from services.registry.tables import VersionRow

MOST_POINTS = 400
"""Points a line; of a longer history every second version, or every third, and so on."""
MOST_LINES = 8
MOST_MARKS = 100
"""Incidents, and decisions, that are marked: the newest."""
_PLOTTED = ("log_loss_recent", "auc_recent", "rmse_recent", "mae", "log_loss", "auc", "rmse")
_MOST_PLOTS = 4


class Line(msgspec.Struct, frozen=True):
    """A candidate's values of one metric; ``x`` in seconds since the epoch."""

    candidate: str
    x: list[float]
    y: list[float | None]


class Plot(msgspec.Struct, frozen=True):
    """One metric of all candidates."""

    metric: str
    lines: list[Line]


class Mark(msgspec.Struct, frozen=True):
    """Something that happened at ``x``, until ``until`` if that is known."""

    x: float
    kind: str
    text: str
    until: float | None = None


class Drawing(msgspec.Struct, frozen=True):
    """Everything."""

    plots: list[Plot]
    incidents: list[Mark]
    decisions: list[Mark]


def drawing(session: Session, name: str, incidents: Sequence[Incident]) -> Drawing:
    """Collect it; Missing when there is no such model."""
    candidates = sorted(reading.model(session, name).candidates[:MOST_LINES])  # each keeps its colour
    found = {candidate: _points(session, name, candidate) for candidate in candidates}
    entries, _ = history.log(session, name, None, MOST_MARKS)
    decisions = [
        Mark(_seconds(entry.change.at), entry.verb, f"{entry.verb}: {entry.change.candidate} {entry.change.version}")
        for entry in entries
        if entry.change.alias == CHAMPION and entry.verb != "named first"
    ]
    newest = sorted(incidents, key=lambda each: each.opened, reverse=True)[:MOST_MARKS]
    return Drawing(_plots(found), [_incident(each) for each in newest], decisions)


def _points(session: Session, name: str, candidate: str) -> list[VersionRow]:
    """Up to MOST_POINTS versions, evenly over the history, oldest first."""
    own = (VersionRow.name == name, VersionRow.candidate == candidate)
    count = session.scalar(select(func.max(VersionRow.ordinal)).where(*own)) or 0
    ordinals = range(count, 0, -max(1, -(-count // MOST_POINTS)))
    rows = select(VersionRow).where(*own, VersionRow.ordinal.in_(ordinals)).order_by(VersionRow.ordinal)
    return list(session.scalars(rows))


def _plots(found: Mapping[str, Sequence[VersionRow]]) -> list[Plot]:
    there = {metric for rows in found.values() for row in rows for metric in row.metrics}
    shown = [metric for metric in _PLOTTED if metric in there][:_MOST_PLOTS]
    return [Plot(metric, [_line(candidate, rows, metric) for candidate, rows in found.items()]) for metric in shown]


def _line(candidate: str, rows: Sequence[VersionRow], metric: str) -> Line:
    return Line(candidate, [_seconds(row.at) for row in rows], [row.metrics.get(metric) for row in rows])


def _incident(each: Incident) -> Mark:
    until = None if each.is_open else _seconds(each.told)
    return Mark(_seconds(each.opened), each.newest.severity, each.newest.summary, until)


def _seconds(moment: datetime) -> float:
    return round(moment.timestamp(), 3)
