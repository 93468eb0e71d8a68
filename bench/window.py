"""From samples of a growing topic and of CPU clocks to a rate: what happened between two records of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Sample(NamedTuple):
    """At one moment (monotonic seconds): CPU seconds of the process, of the broker and of the whole machine, the
    topic's end by partition.
    """

    at: float
    cpu: float
    broker_cpu: float
    machine_cpu: float
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """What a process did in a window: events, and the seconds they took. ``others`` is what the rest of the machine
    used meanwhile, in cores: on a quiet one next to nothing.
    """

    events: int
    seconds: float
    cpu: float
    broker_cpu: float = 0.0
    others: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds an event."""
        return self.cpu / self.events * 1e6

    @property
    def broker_us(self) -> float:
        """The broker's CPU microseconds an event."""
        return self.broker_cpu / self.events * 1e6


def window(samples: Sequence[Sample], offsets: Mapping[int, Sequence[int]], skip: int, events: int) -> Measured:
    """What was measured from the first sample with ``skip`` records to the first with ``events`` more.

    ``offsets`` are those of the topic's records by partition: ends count transaction markers, records do not.
    ValueError when the samples do not reach so far.
    """
    ranks = [_rank(sample.ends, offsets) for sample in samples]
    first, last = bisect_left(ranks, skip), bisect_left(ranks, skip + events)
    if last == len(samples) or ranks[first] >= ranks[last]:
        raise ValueError(f"{ranks[-1] if ranks else 0:,} records were seen to come, of {skip + events:,}")
    begin, end = samples[first], samples[last]
    seconds, cpu, broker = end.at - begin.at, end.cpu - begin.cpu, end.broker_cpu - begin.broker_cpu
    others = (end.machine_cpu - begin.machine_cpu - cpu - broker) / seconds
    return Measured(ranks[last] - ranks[first], seconds, cpu, broker, max(0.0, others))


def _rank(ends: tuple[int, ...], offsets: Mapping[int, Sequence[int]]) -> int:
    return sum(bisect_left(offsets[partition], end) for partition, end in enumerate(ends))
