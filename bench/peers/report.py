"""The tables and the chart of the comparison with the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench import goals
from bench.chart import Bar
from bench.goals import Goal, Rounds, Spread
from bench.peers.catalogue import (
    BYTEWAX,
    FAUST,
    IN_MEMORY,
    KAFKA_STREAMS,
    OURS,
    OURS_AT_LEAST_ONCE,
    QUIX,
    Peer,
)
from bench.peers.session import Sizes

GOALS = (
    Goal("a plain Faust agent", OURS.name, FAUST.name, "rate", 40.0),
    Goal("Quix Streams, exactly once", OURS.name, QUIX.name, "rate", 5.0),
    Goal("Bytewax, at least once", OURS.name, BYTEWAX.name, "rate", 1.8),
    Goal("Kafka Streams merely copying, exactly once", OURS.name, KAFKA_STREAMS.name, "rate", 1.0),
    Goal("the River loop in memory, no Kafka", OURS.name, IN_MEMORY.name, "cpu", 1.0),
    Goal("its own at-least-once mode", OURS.name, OURS_AT_LEAST_ONCE.name, "cpu", 1.2),
)
_TEN = 10


class Failed(NamedTuple):
    """A round in which a system ended, stalled, or wrote something else than it should."""

    peer: Peer
    round: int
    why: str


def goal_table(rounds: Rounds, missing: Mapping[str, str], asked: Sequence[Goal] = GOALS) -> list[str]:
    """Each goal with the median ratio, its range over the rounds, and the verdict."""
    lines = ["| Rivermill scoring, exactly once, against | goal | measured | range | |", "|---|---|---|---|---|"]
    for goal in asked:
        ratio = goals.ratios(rounds, goal.ours, goal.theirs, goal.measure)
        if ratio is None:
            lines.append(f"| {goal.what} | {goal.asked()} | not run | | {missing.get(goal.theirs, '')} |")
        else:
            lines.append(
                f"| {goal.what} | {goal.asked()} | {_times(ratio.median)} | {_times(ratio.low)} to {_times(ratio.high)} "
                f"| {goal.verdict(ratio.median)} |"
            )
    return lines


def table(peers: Sequence[Peer], rounds: Rounds, missing: Mapping[str, str]) -> list[str]:
    """Every system: ratios to Rivermill exactly once first, then what they are made of."""
    lines = [
        "| system | delivery | Rivermill's events/s against it | Rivermill's CPU against it | events/s | CPU µs/event "
        "| broker's CPU µs/event |",
        "|---|---|---|---|---|---|---|",
    ]
    for peer in peers:
        found = rounds.get(peer.name, ())
        rate, cpu = goals.rates(found), goals.cpu(found)
        if rate is None or cpu is None:
            lines.append(f"| {peer.title} | {peer.delivery} | not run: {missing.get(peer.name, 'left out')} | | | | |")
            continue
        faster = goals.ratios(rounds, OURS.name, peer.name, "rate")
        lighter = goals.ratios(rounds, OURS.name, peer.name, "cpu")
        broker = goals.spread(it.broker_us for it in found if it)
        lines.append(
            f"| {peer.title} | {peer.delivery} | {_ratio(faster)} | {_ratio(lighter)} | {_range(rate)} | {_range(cpu)} "
            f"| {_range(broker) if peer is not IN_MEMORY else ''} |"
        )
    return lines


def sizes_told(peers: Sequence[Peer], sizes: Sizes) -> str:
    """How many events are measured after how many others; each system that is given something else is named."""
    usual = sizes.warm_up, sizes.events
    others = [
        f"{peer.title}, {peer.delivery}: {measured:,} after {before:,}"
        for peer in peers
        for before, measured in [sizes.of(peer)]
        if (before, measured) != usual
    ]
    return f"{sizes.events:,} events after {sizes.warm_up:,} to warm up" + (f" ({'; '.join(others)})" if others else "")


def failures(failed: Sequence[Failed]) -> list[str]:
    """Which rounds of which system are in no figure, and why."""
    if not failed:
        return []
    told = "; ".join(
        f"{it.peer.title}, {it.peer.delivery}, in round {it.round} ({' '.join(it.why.split())})" for it in failed
    )
    return [f"**Failed**, and in no figure here: {told}."]


def compared(failed: Sequence[Failed]) -> str:
    """What the check of the outputs says of the figures."""
    what = "Every output that is in a figure was compared and equal" if failed else "Every output was compared"
    return f"{what}: each event once, scores equal to 1e-9, all other bytes equal."


def may_be_written(failed: Sequence[Failed]) -> bool:
    """Not when a round of Rivermill's own failed: it is in every ratio, or a system that the goals are about."""
    return not any(it.peer.module == OURS.module for it in failed)


def bars(peers: Sequence[Peer], rounds: Rounds) -> tuple[list[Bar], list[Bar]]:
    """Events a second, and CPU microseconds an event."""
    rates, cpus = [], []
    for peer in peers:
        label = peer.title if peer.delivery == "none" else f"{peer.title}, {peer.delivery}"
        ours = peer.module == "rivermill"
        if rate := goals.rates(rounds.get(peer.name, ())):
            rates.append(Bar(label, rate, ours=ours))
        if cpu := goals.cpu(rounds.get(peer.name, ())):
            cpus.append(Bar(label, cpu, ours=ours))
    return rates, cpus


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio >= _TEN else f"{ratio:.2f}×"


def _ratio(ratio: Spread | None) -> str:
    return _times(ratio.median) if ratio else ""


def _range(found: Spread | None) -> str:
    if found is None:
        return ""
    digits = 0 if found.median >= 100 * _TEN else 1
    return f"{found.median:,.{digits}f} ({found.low:,.{digits}f} to {found.high:,.{digits}f})"
