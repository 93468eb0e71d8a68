"""Charts as SVG, written by hand: no plotting library is worth its weight for a few bars and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle

from bench.goals import Spread

_WIDTH, _LABELS, _NUMBERS, _ROW, _BAR, _HEAD = 860, 340, 90, 26, 16, 46
_OURS, _OTHERS, _RANGE, _TEXT, _PAPER = "#1a7f6b", "#9aa5b1", "#30363d", "#24292f", "#ffffff"
_SMALL = 100
_PLOT, _LEFT = 300, 60
_COLOURS = ("#1a7f6b", "#b35900", "#5b4fb3", "#c2255c", "#3a6ea5")


@dataclass(frozen=True)
class Bar:
    """One bar: the median, with a line over the range."""

    label: str
    value: Spread
    ours: bool = False


def bars(panels: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """One panel below the other, each with its title and a scale of its own from zero."""
    parts: list[str] = []
    top = 0
    for title, rows in panels:
        parts.append(f'<text x="12" y="{top + 28}" font-weight="bold">{escape(title)}</text>')
        scale = (_WIDTH - _LABELS - _NUMBERS) / max((row.value.high for row in rows), default=1.0)
        for index, row in enumerate(rows):
            parts += _bar(row, top + _HEAD + index * _ROW, scale)
        top += _HEAD + len(rows) * _ROW
    return _svg(top + 14, parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_TEXT}">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="{_PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(row: Bar, y: int, scale: float) -> list[str]:
    value, middle = row.value, y + _BAR / 2
    low, end, high = (_LABELS + each * scale for each in (value.low, value.median, value.high))
    number = f"{value.median:,.0f}" if value.median >= _SMALL else f"{value.median:.1f}"
    return [
        f'<text x="{_LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(row.label)}</text>',
        f'<rect x="{_LABELS}" y="{y}" width="{end - _LABELS:.1f}" height="{_BAR}" '
        f'fill="{_OURS if row.ours else _OTHERS}"/>',
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{_RANGE}" stroke-width="2"/>',
        f'<text x="{max(end, high) + 6:.1f}" y="{y + 13}">{number}</text>',
    ]


def lines(title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines by name, of points (minutes, value), over an axis from zero."""
    right, most = _WIDTH - 2 * _NUMBERS, max(y for points in series.values() for _, y in points) * 1.1
    end = max(x for points in series.values() for x, _ in points)

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / end * (right - _LEFT), _HEAD + _PLOT * (1 - y / most)

    parts = [f'<text x="12" y="28" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        _, y = place(0, most * step / 4)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{_OTHERS}" stroke-width="0.5"/>'
        )
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * step / 4:,.0f}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEAD + _PLOT + 18}">0</text>')
    parts.append(f'<text x="{right}" y="{_HEAD + _PLOT + 18}" text-anchor="end">{end:.0f} min, {escape(unit)}</text>')
    taken: list[float] = []
    for colour, (name, points) in zip(cycle(_COLOURS), sorted(series.items(), key=lambda it: -it[1][-1][1])):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = max([place(*points[-1])[1] + 4, *(each + 15 for each in taken[-1:])])
        taken.append(y)
        parts.append(f'<text x="{right + 8}" y="{y:.1f}" fill="{colour}">{escape(name)} {points[-1][1]:,.0f}</text>')
    return _svg(_HEAD + _PLOT + 30, parts)
