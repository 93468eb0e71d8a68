"""The plots of the backtest's page: one panel a measure above one time axis, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from html import escape

import numpy as np

from services.cli.backtest_measures import Measured, Period
from services.cli.backtest_run import Result

_WIDTH, _LEFT, _RIGHT = 1000, 46, 12
_PANEL, _GAP, _TOP, _BOTTOM = 210, 44, 28, 26
_LEAST_EXAMPLES_SHARE = 0.1
_TICKS = 5
_STEPS = [timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=2), timedelta(days=7),
          timedelta(days=14)]  # fmt: skip
_MOST_DATES = 12
_HALVES: dict[Period, timedelta] = {
    "hour": timedelta(minutes=30), "day": timedelta(hours=12), "week": timedelta(days=3.5), "month": timedelta(days=15),
}  # fmt: skip
_TRIM = 0.01
_MOST_COLOURS = 6


def plots(result: Result, names: Sequence[tuple[str, str]], zone: tzinfo) -> str:
    """The figure; "" when nothing was measured."""
    points = _enough(result.points)
    if not points or result.span is None:
        return ""
    axis = _Time(*result.span, _HALVES[result.points_period])
    height = _TOP + len(names) * (_PANEL + _GAP) - _GAP + _BOTTOM
    parts = [*_incidents(result, axis, height), *_dates(axis, height, zone)]
    for index, named in enumerate(names):
        parts += _panel(points, result.candidates, named, axis, _TOP + index * (_PANEL + _GAP))
    inside = "\n".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Measures over time">\n{inside}\n</svg>'


def _enough(points: Sequence[Measured]) -> list[Measured]:
    """Without periods of so few examples that they say nothing."""
    if not points:
        return []
    least = _LEAST_EXAMPLES_SHARE * float(np.median([each.examples for each in points]))
    return [each for each in points if each.examples >= least]


class _Time:
    """Moments to x; a period is drawn at its middle."""

    def __init__(self, start: datetime, end: datetime, half: timedelta) -> None:
        self.start, self.end, self.half = start, max(end, start + timedelta(hours=1)), half

    def x(self, moment: datetime) -> float:
        share = (min(max(moment, self.start), self.end) - self.start) / (self.end - self.start)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _incidents(result: Result, axis: _Time, height: int) -> Iterator[str]:
    bottom = height - _BOTTOM
    for number, each in enumerate(result.incidents, 1):
        left, right = axis.x(each.opened), axis.x(each.ended or axis.end)
        about = escape(f"{number}: {'; '.join(each.suspects[:3]) or each.signal}")
        yield (
            f'<g><title>{about}</title><rect class="incident" x="{left:.1f}" y="{_TOP}" '
            f'width="{max(right - left, 1.5):.1f}" height="{bottom - _TOP}"/>'
            f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text class="number" x="{left + 3:.1f}" y="{_TOP + 11 + 11 * (number % 2)}">{number}</text></g>'
        )


def _dates(axis: _Time, height: int, zone: tzinfo) -> Iterator[str]:
    """Vertical lines at round dates."""
    for moment, label in _round_dates(axis, zone):
        x = axis.x(moment)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        yield f'<text x="{x:.1f}" y="{height - 9}" text-anchor="middle">{label}</text>'


def _round_dates(axis: _Time, zone: tzinfo) -> Iterator[tuple[datetime, str]]:
    span = axis.end - axis.start
    midnight = axis.start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    step = next((step for step in _STEPS if span / step <= _MOST_DATES), None)
    if step is None:
        months = max(1, math.ceil(span.days / 30.4 / _MOST_DATES))
        first = midnight.year * 12 + midnight.month - 1
        moments = (midnight.replace(year=n // 12, month=n % 12 + 1, day=1) for n in range(first, first + 2400, months))
        form = "%b %Y" if months > 1 or span.days > 400 else "%b"  # noqa: PLR2004 - more than a year names it
    else:
        moments = (midnight + n * step for n in range(1000))
        form = "%H:%M" if step < timedelta(days=1) else "%-d %b"
    for moment in moments:
        if moment > axis.end:
            return
        if moment >= axis.start:
            yield moment, moment.strftime(form)


def _panel(
    points: Sequence[Measured], candidates: Sequence[str], named: tuple[str, str], axis: _Time, top: int
) -> Iterator[str]:
    """One measure: a scale, and a line a candidate."""
    name, label = named
    values = [each.measures[name] for each in points if name in each.measures]
    if not values:
        return
    low, high = (float(np.quantile(values, share)) for share in (_TRIM, 1 - _TRIM))
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def y(value: float) -> float:
        return top + _PANEL - (min(max(value, low), high) - low) / (high - low) * _PANEL

    yield f'<text class="title" x="{_LEFT}" y="{top - 9}">{escape(label[:1].upper() + label[1:])}</text>'
    for tick in ticks:
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield f'<text x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for index, candidate in enumerate(candidates):
        line = [
            f"{axis.x(each.start + axis.half):.1f},{y(each.measures[name]):.1f}"
            for each in points
            if each.candidate == candidate and name in each.measures
        ]
        colour = f"var(--c{index % _MOST_COLOURS})"
        yield f'<polyline class="series" style="stroke: {colour}" points="{" ".join(line)}"><title>{escape(candidate)}</title></polyline>'


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose a range."""
    rough = max(high - low, 1e-6) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
