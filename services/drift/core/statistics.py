"""What is watched of a block: its statistics, each with a level that a person would read."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

from schemas.summaries import FeatureMoments, Moments
from services.drift.core.blocks import BlockSums

_ROUNDING = 1e-9
FEWEST_VALUES = 10
"""Values below which a block says nothing of a mean."""


class Observation(NamedTuple):
    """A statistic of one block: ``noise`` is the least deviation that chance gives a block of this size."""

    signal: str
    subject: str
    what: str
    value: float
    level: float
    noise: float
    falls: bool = True


def observations(block: BlockSums) -> Iterator[Observation]:
    """All statistics of a block, in a fixed order; missing ones are left out.

    Signals are ``mean:FEATURE``, ``spread:FEATURE`` (mean and standard deviation of clipped values), ``missing:FEATURE``, ``score`` and
    ``loss:CANDIDATE`` (the champion's, of which only a rise is judged).
    """
    for name, feature in block.features.items():
        yield from _of_feature(name, feature)
    if block.score.count >= FEWEST_VALUES:
        yield _mean("score", "score", "score", block.score, falls=True)
    champion = block.model.candidate if block.model else ""
    if champion in block.loss and block.loss[champion].count >= FEWEST_VALUES:
        yield _mean(f"loss:{champion}", champion, "loss", block.loss[champion], falls=False)


def _of_feature(name: str, feature: FeatureMoments) -> Iterator[Observation]:
    n = feature.clipped_count
    if n >= FEWEST_VALUES and feature.count:
        away = feature.clipped / n
        spread = sqrt(max(feature.clipped_sq / n - away * away, 0.0))
        mean = feature.centre + away
        least = max(spread, feature.scale) / sqrt(n) + abs(mean) * _ROUNDING
        yield Observation(f"mean:{name}", name, "mean", mean, feature.sum / feature.count, least)
        yield Observation(f"spread:{name}", name, "spread", spread, spread, least / sqrt(2))
    total = feature.count + feature.missing
    if total >= FEWEST_VALUES:
        rate = feature.missing / total
        likely = (feature.missing + 1) / (total + 2)
        yield Observation(f"missing:{name}", name, "missing", rate, rate, sqrt(likely * (1 - likely) / total))


def _mean(signal: str, subject: str, what: str, moments: Moments, *, falls: bool) -> Observation:
    n = moments.count
    mean = moments.sum / n
    noise = sqrt(max(moments.sum_sq / n - mean * mean, 0.0) / n)
    return Observation(signal, subject, what, mean, mean, noise, falls)
