"""The features of a first pipeline file: a table each, with what was measured of the column beside its keys."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from services.cli.init_columns import Column
from services.cli.init_lines import line, quantiles, quoted, sayable

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_SHOWN, _SHOWN_CHARACTERS = 6, 24
_LEAST_VALUES, _MOST_VALUES, _ROOM = 20, 1_000_000, 4
_OFTEN_MISSING = 0.2
_WHOLE_MAX = 1e15


def feature(name: str, column: Column, telling: bool) -> str:
    """The table of one feature under its name; ``telling`` puts a warning before it."""
    rows = {"number": _number, "boolean": _boolean, "category": _category}[column.kind](column)
    key = name if _BARE.match(name) else quoted(name)
    head = [f"[features.{key}]", line(f'type = "{column.kind}"', next(rows))]
    if telling:
        head.insert(0, "# check: this alone tells the label. Is it known when the event is sent? If not, take it out.")
    if name != column.name:
        head.append(line(f"aliases = [{quoted(column.name)}]", "its name in the events"))
    return "\n".join([*head, *rows])


def _number(column: Column) -> Iterator[str]:
    low, middle, high = quantiles(column.values)
    codes = "; check: if these are codes, it is a category" if column.whole else ""
    yield f"{low:g} to {high:g} (1 % to 99 %), median {middle:g}{codes}"
    if bounds := _range(column.values):
        yield line(f"range = [{_toml(bounds[0])}, {_toml(bounds[1])}]", "check: which numbers are possible?")
        yield line('outside = "clip"', 'or "missing", "reject"')
    if 0 < column.missing <= _OFTEN_MISSING:
        yield line('missing = "median"', f"{column.missing:.1%} are")
    elif column.missing:
        yield f"# missing {column.missing:.1%} of the time: left so, which models weigh"


def _boolean(column: Column) -> Iterator[str]:
    codes = {"0", "1"} >= column.counts.keys()
    yield _values(column.counts) + ("; check: if it counts, it is a number" if codes else "")
    yield from _holes(column)


def _category(column: Column) -> Iterator[str]:
    yield f"{len(column.counts):,} values: {_values(column.counts)}"
    if column.folded < len(column.counts):
        yield line('case = "upper"', f"{column.folded:,} values, upper and lower case being one")
    yield line(f"max_values = {_room(len(column.counts))}", "check: later values than these share one")
    yield from _holes(column)


def _holes(column: Column) -> Iterator[str]:
    if column.missing:
        yield f"# missing {column.missing:.1%} of the time: left so, which models weigh"


def _values(counts: dict[str, int]) -> str:
    shown = [f"{quoted(value[:_SHOWN_CHARACTERS])} {count:,}" for value, count in list(counts.items())[:_SHOWN]]
    return ", ".join(shown) + (", ..." if len(counts) > _SHOWN else "")


def _room(values: int) -> int:
    """So many values and room for more, as a round number."""
    wanted = min(max(_LEAST_VALUES, _ROOM * values), _MOST_VALUES)
    size: int = 10 ** (len(str(wanted)) - 1)
    return min(-(-wanted // size) * size, _MOST_VALUES)


def _range(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The quantiles and as much again on both sides, rounded outwards; not below 0 where nothing is."""
    low, _, high = quantiles(ordered)
    if low == high:
        low, high = ordered[0], ordered[-1]
    spread = high - low
    step = 10.0 ** (math.floor(math.log10(spread)) - 1) if spread > 0 else 0.0
    if step == 0:
        return None
    least = math.floor((low - spread) / step) * step
    most = math.ceil((high + spread) / step) * step
    digits = max(0, -math.floor(math.log10(step)))
    if ordered[0] >= 0:
        least = max(least, 0.0)
    bounds = round(least, digits) + 0.0, round(most, digits)
    return bounds if bounds[0] < bounds[1] and all(map(sayable, bounds)) else None


def _toml(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_MAX else repr(value)
