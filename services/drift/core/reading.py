"""Reading ``summaries``: only what summarise can have written is folded, so that no block can overflow."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from schemas.summaries import FeatureMoments, Moments, Summary
from services.domain.records import NUMBER_MAX, Incoming

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What :func:`read` raises for a record that is no summary of ours."""
_MOST = 2**48
"""Values that a part may count: with it sums stay finite, and counts whole."""
_SUM = NUMBER_MAX * _MOST
_SQUARES = NUMBER_MAX * _SUM
_YEARS = range(1900, 2200)
"""Those that cleaning lets through."""
_decode = msgspec.json.Decoder(Summary).decode


def read(record: Incoming, lanes: int) -> Summary:
    """A summary of one of these lanes; one of ``UNREADABLE`` for anything else."""
    summary = _decode(record.value or b"")
    if not 0 <= summary.lane < lanes:
        message = f"lane {summary.lane} is none of {lanes}"
        raise ValueError(message)
    if summary.watermark.year not in _YEARS:
        message = f"the watermark lies outside the years {_YEARS.start} to {_YEARS.stop - 1}"
        raise ValueError(message)
    if not all(abs(value) <= most and (value >= 0 or may_fall) for value, most, may_fall in _numbers(summary)):
        message = "a count, a sum or a square is none that a lane can come to"
        raise ValueError(message)
    return summary


def _numbers(summary: Summary) -> Iterator[tuple[float, float, bool]]:
    """Every number that is merged: its value, the most it can be, and whether it may be below zero."""
    yield summary.events, _MOST, False
    for feature in summary.features.values():
        yield from _of_feature(feature)
    for moments in (summary.score, *summary.loss.values()):
        yield from _of_moments(moments)


def _of_feature(it: FeatureMoments) -> Iterator[tuple[float, float, bool]]:
    yield from ((count, _MOST, False) for count in (it.count, it.missing, it.clipped_count))
    yield from ((total, _SUM, True) for total in (it.sum, it.centre, it.clipped))
    yield from ((it.clipped_sq, _SQUARES, False), (it.scale, _SUM, False))


def _of_moments(it: Moments) -> Iterator[tuple[float, float, bool]]:
    yield from (
        (it.count, _MOST, False),
        (it.missing, _MOST, False),
        (it.sum, _SUM, True),
        (it.sum_sq, _SQUARES, False),
    )
