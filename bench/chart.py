"""Bar charts as SVG, written by hand: no plotting library is worth its weight for a few bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.goals import Spread

_WIDTH, _LABELS, _NUMBERS, _ROW, _BAR, _HEAD = 860, 300, 90, 26, 16, 46
_OURS, _OTHERS, _RANGE, _TEXT, _PAPER = "#1a7f6b", "#9aa5b1", "#30363d", "#24292f", "#ffffff"
_SMALL = 100


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
    height = top + 14
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
