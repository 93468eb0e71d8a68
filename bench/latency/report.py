"""The tables of ``python -m bench.latency``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from statistics import median

from bench.latency.measures import BELOW, GOALS, PARTS, Measured, Quantiles
from bench.latency.systems import SYSTEMS, System

Rounds = dict[tuple[str, str], list[Measured]]
"""By load and system's name."""
_TITLES = {system.name: system.title for system in SYSTEMS}
_HALF = "50 %"


def middle(rounds: Sequence[Measured], part: str = "both") -> Quantiles:
    """Each quantile's median over the rounds."""
    return Quantiles(*(median(it.parts[part][index] for it in rounds) for index in range(3)))


def goals(found: Mapping[tuple[str, str], list[Measured]]) -> list[str]:
    """Each goal, what was measured, and whether it is met."""
    lines = ["| raw event to prediction | load | goal: p50, p99 | measured | |", "|---|---|---|---|---|"]
    for goal in GOALS:
        if rounds := found.get((goal.load, goal.system)):
            now = middle(rounds)
            met = now.p50 <= goal.p50 and now.p99 <= goal.p99
            lines.append(
                f"| {_TITLES[goal.system]} | {goal.load} | ≤ {goal.p50:g}, ≤ {goal.p99:g} ms | {now.p50:.1f}, "
                f"{now.p99:.1f} ms | {'met' if met else '**missed**'} |"
            )
    ours, theirs = (found.get((_HALF, name)) for name in BELOW)
    if ours and theirs:
        now, other = middle(ours), middle(theirs)
        met = now.p50 < other.p50 and now.p99 < other.p99
        lines.append(
            f"| {_TITLES[BELOW[0]]} | {_HALF} | below Kafka Streams' {other.p50:.1f}, {other.p99:.1f} ms | {now.p50:.1f}, "
            f"{now.p99:.1f} ms | {'met' if met else '**missed**'} |"
        )
    return lines


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
