"""The tables of ``python -m bench.latency``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from statistics import median

from bench.goals import at_most
from bench.latency.measures import BELOW, GOALS, PARTS, Measured, Quantiles
from bench.latency.systems import AT_LEAST_ONCE, SYSTEMS, System

Rounds = dict[tuple[str, str], list[Measured]]
"""By load and system's name."""
_TITLES = {system.name: system.title for system in SYSTEMS}
_HALF = "50 %"


def middle(rounds: Sequence[Measured], part: str = "both") -> Quantiles:
    """Each quantile's median over the rounds."""
    return Quantiles(*(median(it.parts[part][index] for it in rounds) for index in range(3)))


def broken(found: Mapping[tuple[str, str], list[Measured]]) -> list[str]:
    """The runs that lost events, or repeated some though they must not: their quantiles are of the other events."""
    return [
        f"{_TITLES[name]}, {load}, round {number}: {it.lost:,} lost, {it.repeats:,} repeated"
        for (load, name), rounds in found.items()
        for number, it in enumerate(rounds, 1)
        if it.lost or (it.repeats and name != AT_LEAST_ONCE.name)
    ]


def goals(found: Mapping[tuple[str, str], list[Measured]]) -> list[str]:
    """Each goal, what was measured with its range over the rounds, and by how much each quantile meets or misses it."""
    lines = ["| raw event to prediction | load | goal: p50, p99 | measured | range | |", "|---|---|---|---|---|---|"]
    for goal in GOALS:
        if rounds := found.get((goal.load, goal.system)):
            asked = f"≤ {goal.p50:g}, ≤ {goal.p99:g} ms"
            lines.append(_goal(goal.system, goal.load, asked, rounds, (goal.p50, goal.p99)))
    ours, theirs = (found.get((_HALF, name)) for name in BELOW)
    if ours and theirs:
        other = middle(theirs)
        asked = f"below Kafka Streams' {other.p50:.1f}, {other.p99:.1f} ms"
        lines.append(_goal(BELOW[0], _HALF, asked, ours, (other.p50, other.p99)))
    return lines


def _goal(system: str, load: str, asked: str, rounds: Sequence[Measured], bounds: tuple[float, float]) -> str:
    now = middle(rounds)
    each = [it.parts["both"] for it in rounds]
    p50s, p99s = [it.p50 for it in each], [it.p99 for it in each]
    return (
        f"| {_TITLES[system]} | {load} | {asked} | {now.p50:.1f}, {now.p99:.1f} ms "
        f"| {min(p50s):.1f} to {max(p50s):.1f}, {min(p99s):.1f} to {max(p99s):.1f} ms "
        f"| p50 {at_most(now.p50, bounds[0])}, p99 {at_most(now.p99, bounds[1])} |"
    )


def table(found: Mapping[tuple[str, str], list[Measured]], systems: Sequence[System]) -> list[str]:
    """Every load and system: quantiles of the first hop, the second, and both."""
    hops = " | ".join(f"{part}: p50, p99, p99.9 ms" for part in PARTS)
    lines = [f"| load | system | {hops} |", "|---" * (2 + len(PARTS)) + "|"]
    for load in dict.fromkeys(load for load, _ in found):
        for system in systems:
            rounds = found[load, system.name]
            cells = (", ".join(f"{each:.1f}" for each in middle(rounds, part)) for part in PARTS)
            lines.append(f"| {load} ({rounds[0].rate:,.0f}/s) | {system.title} | {' | '.join(cells)} |")
    return lines


def circumstances(capacity: float, wanted: argparse.Namespace, missing: str) -> list[str]:
    """How it was measured."""
    rounds = f"Medians of {wanted.rounds} rounds of" if wanted.rounds > 1 else "One round of"
    lines = [
        f"{rounds} {wanted.seconds:g} s after {wanted.warm_up:g} s to warm up, {wanted.partitions} partitions, one process "
        f"for each hop (Kafka Streams: one for both). Load in percent of the {capacity:,.0f} events/s that cleaning and "
        "scoring sustained together; what sends and reads runs on the same cores. Latency counts from when an "
        "event was due to be sent to when a read_committed consumer had its prediction.",
    ]
    return [*lines, f"Kafka Streams was not run: {missing}."] if missing else lines
