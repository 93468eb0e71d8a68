"""From a kill to the first committed output of the new owner: read from the topics' own checkpoints.

Every lane puts a checkpoint into each of its transactions, stamped with the wall clock when it is written; a read_committed
reader is given it once it is committed. So a lane's recovery from the kill of its owner ends when the reader has the first
one written later, and another lane's pause is the longest time that the reader waited for the next.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from math import ceil
from operator import attrgetter
from typing import NamedTuple

import msgspec

from chaos import reader
from schemas.topics import SERVICES, topic_name

SPARSE = frozenset({"detect"})
"""Stages that get input so seldom that silence says nothing."""
UNHURRIED = SPARSE | {"summarise"}
"""Those, and one that waits for half a second from batch to batch anyway."""
WORST_MS, PAUSE_MS = 20_000, 500
GOALS_MS = {"restarted": 2_000, "lost": 8_000}
"""Goals: the median for a process that is started again and for one that is not; the worst; a healthy lane's pause."""
CALM_MS = {"restarted": 5_000, "lost": 10_000}
"""How long no other fault may come for a recovery to count for the goals, however long it takes."""
_PAUSE_WITHIN_MS = 5_000
WATCHED_MS = _PAUSE_WITHIN_MS + 1_000
"""So long after a kill healthy lanes need input: without any they are silent, too."""
_came = attrgetter("came_ms")
Lane = tuple[str, int]


class Kill(msgspec.Struct, frozen=True):
    """A process was killed ``at_ms``, when it owned ``lanes``; ``healthy`` were those of its service's other processes.

    ``alone``: no other fault was at work, and none came for ``CALM_MS``. Not measured are ``contested`` lanes, which two
    processes claimed, those of a process that had not ``told`` its lanes, and all while a clock was wrong.
    """

    at_ms: int
    target: str
    how: str
    lanes: frozenset[Lane]
    healthy: frozenset[Lane]
    alone: bool = True
    contested: frozenset[Lane] = frozenset()
    told: bool = True
    clock_right: bool = True


class Distribution(msgspec.Struct, frozen=True):
    """Times in milliseconds of so many lanes after so many kills; ``met`` is whether the goal is."""

    kills: int
    lanes: int
    median: int
    p90: int
    worst: int
    met: bool


def distribution(by_kill: Iterable[Sequence[int]], median_goal: int | None, worst_goal: int) -> Distribution | None:
    """The distribution of the times of each kill's lanes, None when there are none."""
    measured = [times for times in by_kill if times]
    if not measured:
        return None
    ordered = sorted(chain.from_iterable(measured))
    median, p90 = (ordered[ceil(len(ordered) * share) - 1] for share in (0.5, 0.9))
    met = ordered[-1] <= worst_goal and (median_goal is None or median <= median_goal)
    return Distribution(len(measured), len(ordered), median, p90, ordered[-1], met)


class Seen(NamedTuple):
    """A checkpoint: when a read_committed reader was given it, by this process's clock, and when its lane wrote it, by its
    own (ms).
    """

    came_ms: int
    written_ms: int


class Checkpoints:
    """Each lane's checkpoints in the order in which they came; :meth:`run` follows them."""

    def __init__(self) -> None:
        self.by_lane: defaultdict[Lane, list[Seen]] = defaultdict(list)

    async def run(self, broker: str, pipeline: str, partitions: int) -> None:
        """Follow the state topics until cancelled: read at the end, most would be compacted away."""
        topics = {topic_name(pipeline, f"state.{service}"): partitions for service in SERVICES}
        async for record in reader.follow(broker, topics):
            if record.key.count(b"/") == 1:  # stage/lane; records of single ids have longer keys
                stage, _, lane = record.key.decode().partition("/")
                self.by_lane[stage, int(lane)].append(Seen(now_ms(), record.timestamp))


def distributions(kills: Iterable[Kill], by_lane: Mapping[Lane, Sequence[Seen]]) -> dict[str, Distribution]:
    """Recoveries by ``restarted``, ``lost`` (of kills alone, and of all by a longer name), and ``pause`` of healthy lanes."""
    times: defaultdict[str, list[list[int]]] = defaultdict(list)
    for kill in kills:
        if not kill.clock_right:
            continue
        took = [
            took
            for lane in kill.lanes
            if (took := recovery(kill, by_lane.get(lane, ()))) is not None and lane[0] not in SPARSE
        ]
        times[f"{kill.how}, whatever else went on"].append(took)
        if kill.alone:
            times[kill.how].append(took)
            silences = [pause(kill, by_lane.get(lane, ())) for lane in kill.healthy if lane[0] not in UNHURRIED]
            times["pause"].append([longest for longest in silences if longest is not None])
    found = {
        name: distribution(each, GOALS_MS.get(name), PAUSE_MS if name == "pause" else WORST_MS)
        for name, each in sorted(times.items())
    }
    return {name: each for name, each in found.items() if each is not None}


def unmeasured(kills: Iterable[Kill], by_lane: Mapping[Lane, Sequence[Seen]]) -> dict[str, int]:
    """How many kills and lanes the distributions leave out, by reason: none may hide a slow recovery unseen."""
    found: Counter[str] = Counter()
    for kill in kills:
        if not kill.clock_right:
            found["kills while a clock was wrong"] += 1
        elif not kill.told:
            found["kills of processes that had not told their lanes"] += 1
        else:
            found["lanes that two processes claimed"] += len(kill.contested)
            lanes = (lane for lane in kill.lanes if lane[0] not in SPARSE)
            missing = sum(recovery(kill, by_lane.get(lane, ())) is None for lane in lanes)
            found["lanes without a checkpoint after the kill"] += missing
            healthy = (lane for lane in kill.healthy if kill.alone and lane[0] not in UNHURRIED)
            missing = sum(pause(kill, by_lane.get(lane, ())) is None for lane in healthy)
            found["healthy lanes without a checkpoint before the kill or after its seconds"] += missing
    return dict(+found)


def recovery(kill: Kill, seen: Sequence[Seen]) -> int | None:
    """From the kill until the lane's first checkpoint written after it came; None when none did.

    One written before may come after: the killed process's own last.
    """
    after = bisect_right(seen, kill.at_ms, key=_came)
    return next((it.came_ms - kill.at_ms for it in seen[after:] if it.written_ms > kill.at_ms), None)


def pause(kill: Kill, seen: Sequence[Seen]) -> int | None:
    """The longest silence of a lane that began before the end of the seconds after the kill.

    None when it does not end, or nothing tells when it began.
    """
    first = bisect_right(seen, kill.at_ms, key=_came) - 1
    last = bisect_right(seen, kill.at_ms + _PAUSE_WITHIN_MS, key=_came)
    if first < 0 or last == len(seen):
        return None
    return max(later.came_ms - earlier.came_ms for earlier, later in pairwise(seen[first : last + 1]))


def now_ms() -> int:
    """The wall clock, as Kafka stamps have it."""
    return time.time_ns() // 1_000_000
