"""Whether a peer wrote what it should: every prediction once, scores equal to 1e-9, all other bytes equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose

TOLERANCE = 1e-9
_SCORE = b'"score":'


@dataclass(frozen=True)
class Verdict:
    """What was found: ``twice``, ``missing``, ``unknown`` and ``altered`` count records; ``example`` shows one altered."""

    records: int
    missing: int
    twice: int
    unknown: int
    altered: int
    example: str = ""

    @property
    def equal(self) -> bool:
        """Whether every expected record was there once, and no other."""
        return not (self.missing or self.twice or self.unknown or self.altered)

    def __str__(self) -> str:
        if self.equal:
            return f"{self.records:,} outputs, all equal"
        wrong = {"missing": self.missing, "twice": self.twice, "unknown": self.unknown, "altered": self.altered}
        told = ", ".join(f"{count:,} {what}" for what, count in wrong.items() if count)
        return f"{self.records:,} outputs: {told}{self.example and ': '}{self.example}"


def same(expected: bytes, found: bytes) -> bool:
    """Equal bytes, but for a score that may differ by 1e-9."""
    if expected == found:
        return True
    score, rest = _split(expected)
    other, other_rest = _split(found)
    return rest == other_rest and isclose(score, other, rel_tol=0.0, abs_tol=TOLERANCE)


def check(expected: Mapping[bytes, bytes], records: Iterable[tuple[bytes, bytes]], *, prefix: bool = False) -> Verdict:
    """Compare a topic's records (key, value) with what was expected; with ``prefix`` some may be missing."""
    seen: set[bytes] = set()
    count = twice = unknown = altered = 0
    example = ""
    for key, value in records:
        count += 1
        twice += key in seen
        seen.add(key)
        wanted = expected.get(key)
        if wanted is None:
            unknown += 1
        elif not same(wanted, value):
            altered += 1
            example = example or f"{key.decode(errors='replace')}: {value[:300]!r}, expected {wanted[:300]!r}"
    missing = 0 if prefix else len(expected.keys() - seen)
    return Verdict(count, missing, twice, unknown, altered, example)


def _split(value: bytes) -> tuple[float, bytes]:
    """The score, and the bytes around it; NaN, which equals nothing, where there is none."""
    head, _, tail = value.partition(_SCORE)
    number, _, tail = tail.partition(b",")
    try:
        return float(number), head + _SCORE + tail
    except ValueError:
        return float("nan"), value
