"""Standardising a plan's dense columns by a function written for that plan, as ``dataclasses`` writes ``__init__``.

It is the hottest loop of scoring. Written out for the names and the width at hand it takes 0.09 µs a column in place of
0.2 (a list comprehension) or 0.4 (a loop that looks for missing values), and every number is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

CLIP = 3.0
"""Deviations from the mean that a dense column shows at most."""

Standardise = Callable[[Mapping[str, Any], Mapping[str, Any], Sequence[float], Sequence[float], list[int]], list[float]]
"""From features, encoded rows, means and 1 / deviations to dense columns; it appends the indices of missing numbers to
the list, and raises KeyError or ValueError for features or rows that are not of the plan it was written for."""


@lru_cache(maxsize=64)
def standardise(numbers: tuple[str, ...], encodings: tuple[tuple[str, int], ...]) -> Standardise:
    """The function for these numbers and these encodings (name, length of a row); dense columns in that order."""
    scope: dict[str, Any] = {"CLIP": CLIP, "LEAST": -CLIP, "read": _reader(numbers)}
    source = "\n    ".join(["def dense(features, encoded, means, inverse, missing):", *_lines(len(numbers), encodings)])
    exec(compile(source, f"<{__name__}>", "exec"), scope)  # noqa: S102 - the text holds numbers and quoted names only
    function: Standardise = scope["dense"]
    return function


def _lines(numbers: int, encodings: Sequence[tuple[str, int]]) -> Iterator[str]:
    width = numbers + sum(length for _, length in encodings)
    yield f"{_unpacked('v', 0, numbers)} = read(features)"
    start = numbers
    for name, length in encodings:
        yield f"{_unpacked('v', start, start + length)} = encoded[{name!r}]"
        start += length
    yield f"{_unpacked('m', 0, width)} = means"
    yield f"{_unpacked('s', 0, width)} = inverse"
    for i in range(width):
        if i < numbers:
            yield f"if v{i} is None:"
            yield f"    v{i} = m{i}"
            yield f"    missing.append({i})"
        yield f"z{i} = (v{i} - m{i}) * s{i}"
        yield f"if not LEAST <= z{i} <= CLIP:"
        yield f"    z{i} = CLIP if z{i} > CLIP else LEAST"
    yield f"return {_unpacked('z', 0, width)}"


def _unpacked(letter: str, start: int, end: int) -> str:
    return "[" + ", ".join(f"{letter}{i}" for i in range(start, end)) + "]"


def _reader(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Reads these features in their order; KeyError when one is absent."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda features: [features[name] for name in names]
