"""A backtest from its records to its result: the engine, what is measured of it, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from schemas.alerts import Alert, Suspect
from services.cli.account import Equation, books
from services.cli.backtest_measures import Measured, Period, Series
from services.cli.offline import Offline, Raw, Record
from services.domain.spec import Spec

_MOST_ROWS, _MOST_POINTS = 31, 125
_alert = msgspec.json.Decoder(Alert).decode


class Incident(msgspec.Struct):
    """One drift incident: ``ended`` and ``resolution`` are None while it is open."""

    incident_id: str
    opened: datetime
    ended: datetime | None
    resolution: str | None
    severity: str
    signal: str
    summary: str
    suspects: list[str]


class Result(msgspec.Struct):
    """What a backtest found. ``over_time`` is by ``period``, ``points`` by a shorter one, for plots.

    ``span`` holds the event times of the first and the last prediction that has a label.
    """

    pipeline: str
    partitions: int
    label_lag_s: float
    records: int
    seconds: float
    cpu_seconds: float
    candidates: list[str]
    total: list[Measured]
    period: Period
    over_time: list[Measured]
    points_period: Period
    points: list[Measured]
    span: tuple[datetime, datetime] | None
    totals: dict[str, dict[str, int]]
    account: list[Equation]
    balanced: bool
    dead_letters: dict[str, int]
    repairs: dict[str, int]
    incidents: list[Incident]
    stopped: bool = False


def run(
    spec: Spec,
    records: Iterable[Raw],
    *,
    partitions: int | None = None,
    lag: timedelta = timedelta(),
    period: Period | None = None,
    progress: Callable[[int, Raw | None], None] = lambda _count, _last: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Result:
    """Put records, which lie in order and lagged already, through every stage.

    ``progress`` is told after every batch the count of records, and the last one. Once ``stopped`` says so no
    further record is taken, and the result is that of those before.
    """
    began, cpu = time.perf_counter(), time.process_time()
    series, incidents = Series(spec), dict[str, Incident]()

    def observe(stream: str, record: Record) -> None:
        if stream == "examples":
            series.see(record.value or b"")
        elif stream == "alerts":
            _take(incidents, _alert(record.value or b""))

    offline = Offline(spec, partitions, observe=observe)
    counted = _Counted(records, stopped)
    for _ in offline.run(counted):
        progress(counted.events + counted.labels, counted.last)
    totals = offline.totals()
    account = books(totals, {"events": counted.events, "labels": counted.labels})
    zone = ZoneInfo(spec.event.timezone)
    points = series.period(_MOST_POINTS)
    chosen = period or series.period(_MOST_ROWS)
    return Result(
        pipeline=spec.pipeline.name,
        partitions=offline.spec.topics.partitions,
        label_lag_s=lag.total_seconds(),
        records=counted.events + counted.labels,
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - cpu,
        candidates=series.candidates,
        total=series.total(),
        period=chosen,
        over_time=series.over_time(chosen, zone),
        points_period=points,
        points=series.over_time(points, zone),
        span=series.span(),
        totals=totals,
        account=account,
        balanced=all(each.difference == 0 for each in account),
        dead_letters=_named(totals, "deadletter."),
        repairs=_named({"clean": totals["clean"]}, "repaired."),
        incidents=list(incidents.values()),
        stopped=counted.ended,
    )


class _Counted:
    """Counts what passes, until it is to end."""

    def __init__(self, records: Iterable[Raw], stopped: Callable[[], bool]) -> None:
        self._records, self._stopped = records, stopped
        self.ended = False
        self.events = self.labels = 0
        self.last: Raw | None = None

    def __iter__(self) -> Iterator[Raw]:
        for raw in self._records:
            if self._stopped():
                self.ended = True
                return
            if raw.kind == "event":
                self.events += 1
            else:
                self.labels += 1
            self.last = raw
            yield raw


def _take(incidents: dict[str, Incident], alert: Alert) -> None:
    suspects = [_suspect(each) for each in alert.suspects]
    at = alert.detected_at
    found = incidents.get(alert.incident_id)
    if found is None:
        incidents[alert.incident_id] = Incident(
            alert.incident_id, at, None, None, alert.severity, alert.signal, alert.summary, suspects
        )
        return
    found.summary, found.severity = alert.summary, alert.severity
    found.suspects = suspects or found.suspects
    if alert.state == "resolved":
        found.ended, found.resolution = at, alert.resolution


def _suspect(suspect: Suspect) -> str:
    if suspect.before is None or suspect.after is None:
        return suspect.feature
    statistic = "" if suspect.statistic == "mean" else f" ({suspect.statistic})"
    return f"{suspect.feature}{statistic} {suspect.before:.4g} → {suspect.after:.4g}"


def _named(totals: dict[str, dict[str, int]], prefix: str) -> dict[str, int]:
    """Counts of one kind, the greatest first, by ``stage: rule`` where several stages are asked."""
    found = {
        (f"{stage}: " if len(totals) > 1 else "") + what.removeprefix(prefix): count
        for stage, counts in totals.items()
        for what, count in counts.items()
        if what.startswith(prefix) and count
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))
