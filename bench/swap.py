"""How long scoring pauses when it takes up another version: one process, no Kafka.

Teaches every candidate of the flights with trees, takes its snapshot half-way and at the end, and lets scoring's own
follower swap the two again and again, by decisions as they stand in ``models``, while clean events are scored a few at a
time. The pause of a swap is the longest time between two such turns while it lasts, less the usual one: reading,
verifying, unpickling and trying the version on its canary events take place beside, in a thread. Live parameters are
swapped likewise. Beside each pause stands the longest time between two turns while as much time goes by without a swap:
what the machine takes by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NamedTuple

from msgspec import structs

from bench import goals, results, ten
from bench.cores import raws
from schemas.codec import encode
from schemas.models import AliasRecord
from services.cli.offline import Offline, Record
from services.domain import live, snapshot
from services.domain.catalogue import is_linear
from services.domain.registry_api import CHAMPION
from services.domain.spec import Spec, parse, spec_hash
from services.runtime import interpreter
from services.runtime.registry_client import RegistryClient
from services.runtime.snapshots import SnapshotCache
from services.scoring.app import ScoreDriver
from services.scoring.core import Score
from services.scoring.follower import Follower

_PIPELINE = Path(__file__).parents[1] / "examples" / "flights" / "pipeline-trees.toml"
_KEY = b"a key for the benchmark"
_NOWHERE = "http://127.0.0.1:1"
"""No registry is asked: every snapshot is in the cache."""
_NOW = 2**42
_TURN = 10
"""Events between two looks at the clock: what one turn takes is what a pause can be told from."""
_TURN_OF_TEN = 40
"""Of ten numbers: a turn then takes as long as one of flights."""
_AFTER_S = 0.05
"""What a swap leaves behind, garbage for one, belongs to it."""


GOALS_MS = {"linear": 1.0, "adaptive_random_forest": 20.0}
"""What the longest pause of all swaps may be, by kind of model."""


class Swap(NamedTuple):
    """What happened while one swap lasted, in ms."""

    took: float
    longest: float
    without: float
    """The longest turn while as much time went by without a swap."""


class Lane:
    """Scores the same events over and over, a few at a time, and keeps the longest time from turn to turn."""

    def __init__(self, driver: ScoreDriver, events: Sequence[Record], turn: int) -> None:
        self.turns: list[float] = []
        self._driver = driver
        self._events = events
        self._turn = turn

    async def run(self) -> None:
        """For ever."""
        at, last = 0, time.perf_counter()
        while True:
            self._driver.process(self._events[at : at + self._turn], _NOW)
            now = time.perf_counter()
            self.turns.append(now - last)
            last = now
            at = (at + self._turn) % (len(self._events) - self._turn)
            await asyncio.sleep(0)

    async def during(self, swap: Callable[[], Awaitable[None]]) -> Swap:
        """Let the swap happen."""
        self.turns.clear()
        began = time.perf_counter()
        await swap()
        took = time.perf_counter() - began
        await asyncio.sleep(_AFTER_S)
        longest = max(self.turns)
        self.turns.clear()
        await asyncio.sleep(took + _AFTER_S)
        return Swap(took * 1e3, longest * 1e3, max(self.turns) * 1e3)


class Taught(NamedTuple):
    """Candidates of a pipeline: two snapshots of each, live parameters at the same two offsets, and clean events, so many a turn."""

    spec: Spec
    snapshots: list[list[bytes]]
    live: list[bytes]
    events: list[Record]
    turn: int = _TURN


def by_flights(days: int) -> Taught:
    """Half-way through so many days, and at their end."""
    spec = parse(_PIPELINE.read_text(encoding="utf-8"))
    found = Taught(spec, [], [], [])

    def observe(stream: str, record: Record) -> None:
        if stream == "events.clean":
            found.events.append(record)

    offline = Offline(spec, 1, observe=observe)
    sent = raws(days, 0.0)
    for part in (sent[: len(sent) // 2], sent[len(sent) // 2 :]):
        for _ in offline.run(part):
            pass
        found.snapshots.append([taken.blob for taken in offline.fold.snapshots()])
        parameters = offline.train.live()
        if parameters is None:
            raise RuntimeError("the fold has no live parameters")
        found.live.append(live.seal(parameters, _KEY))
    offline.close()
    return found


def by_ten_numbers() -> Taught:
    """The plainest: one linear model, nothing encoded."""
    spec = parse(ten.pipeline("ten", 1))
    blobs = [[ten.trained(spec, examples)] for examples in (2000, 4000)]
    events = [
        Record("ten.events.clean", 0, offset, 0, id_, value)
        for offset, (id_, value) in enumerate(ten.clean_events(5000, spec_hash(spec)))
    ]
    return Taught(spec, blobs, [], events, _TURN_OF_TEN)


async def measured(taught: Taught, swaps: int, folder: Path) -> list[str]:
    """A table as Markdown."""
    lines = [
        "| swap | snapshot, KB | from the decision until it is served, ms | usual turn, ms | pause, ms, median | worst "
        "| goal: worst | | without a swap, median | worst |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    lines.append(await by_version(by_ten_numbers(), 0, "ten numbers", swaps, folder))
    numbers = range(len(taught.spec.model.candidates))
    lines += [await by_version(taught, number, "flights", swaps, folder) for number in numbers]
    lines.append(await by_live_parameters(taught, swaps, folder))
    return lines


async def by_version(taught: Taught, number: int, what: str, swaps: int, folder: Path) -> str:
    """Decisions that name one snapshot and then the other."""
    blobs, candidate = [taken[number] for taken in taught.snapshots], taught.spec.model.candidates[number]
    follower, cache, lane, loading = await scoring(taught, folder)
    for blob in blobs:
        await cache.put(blob)
    revision, decisions = 0, [decision(taught, number, which, live=False) for which in range(len(blobs))]

    async def swap() -> None:
        nonlocal revision
        revision += 1
        before = follower.generation
        value = encode(structs.replace(decisions[revision % 2], revision=revision))  # the rest is the registry's work
        await follower.on_decision(value, revision)
        while follower.generation == before:  # noqa: ASYNC110 - who asks every turn sees the lane's turns
            await asyncio.sleep(0)

    model = str(candidate.model)
    goal = GOALS_MS.get("linear" if is_linear(candidate) else model)
    return await repeated(f"{model}, {what}", len(blobs[1]), swap, lane, loading, swaps=swaps, goal=goal)


async def by_live_parameters(taught: Taught, swaps: int, folder: Path) -> str:
    """Live parameters of all linear candidates, each newer than the last."""
    follower, cache, lane, loading = await scoring(taught, folder)
    await cache.put(taught.snapshots[0][0])
    await follower.on_decision(encode(decision(taught, 0, 0, live=True)), 0)
    offset = 2**40

    async def swap() -> None:
        nonlocal offset
        offset += 1
        parameters = live.unseal(taught.live[offset % 2], [_KEY])
        parameters.examples_offset = offset
        value = live.seal(parameters, _KEY)
        await asyncio.sleep(0)
        lane.turns.clear()  # sealing is the learner's work
        await follower.on_parameters(value, offset)

    return await repeated("live parameters, flights", len(taught.live[1]), swap, lane, loading, swaps=swaps)


def decision(taught: Taught, number: int, which: int, *, live: bool) -> AliasRecord:
    """What ``models`` may hold: the champion is this snapshot of this candidate."""
    blob = taught.snapshots[which][number]
    return AliasRecord(
        alias=CHAMPION, revision=1, name=taught.spec.pipeline.name,
        candidate=taught.spec.model.candidates[number].name, version=1 + which, live=live,
        snapshot_sha256=sha256(blob).hexdigest(), signature=snapshot.sign(blob, _KEY), size=len(blob),
        spec=spec_hash(taught.spec), log_id="", examples_offset=0, previous=None, actor="bench", reason="",
        at=datetime.now(UTC),
    )  # fmt: skip


async def scoring(taught: Taught, folder: Path) -> tuple[Follower, SnapshotCache, Lane, asyncio.Task[None]]:
    """What scoring consists of, without Kafka."""
    cache = SnapshotCache(folder, RegistryClient(_NOWHERE, token=None, actor="bench"))
    follower = Follower(taught.spec.pipeline.name, [_KEY], cache)
    loading = asyncio.create_task(follower.run())
    driver = ScoreDriver(Score(0, 1, binary=True), 0, follower, loading)
    return follower, cache, Lane(driver, taught.events, taught.turn), loading


async def repeated(
    what: str,
    size: int,
    swap: Callable[[], Awaitable[None]],
    lane: Lane,
    loading: asyncio.Task[None],
    *,
    swaps: int,
    goal: float | None = None,
) -> str:
    """Swap so many times, and tell of it."""
    await swap()
    tasks = [loading, asyncio.create_task(lane.run())]
    await asyncio.sleep(0.5)
    usual = median(lane.turns) * 1e3
    found = [await lane.during(swap) for _ in range(swaps)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    line = row(what, size, usual, found, goal)
    print(line, flush=True)
    return line


def row(what: str, size: int, usual: float, found: Sequence[Swap], goal: float | None) -> str:
    """A line of the table; the longest pause of all swaps is held against the goal."""
    pauses, without = [it.longest - usual for it in found], [it.without - usual for it in found]
    took, worst = median(it.took for it in found), max(pauses)
    asked = f"≤ {goal:g} | {goals.at_most(worst, goal)}" if goal is not None else "| "
    return (
        f"| {what} | {size / 1e3:,.0f} | {took:.1f} | {usual:.2f} | {median(pauses):.2f} | {worst:.2f} | {asked} "
        f"| {median(without):.2f} | {max(without):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.swap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=30, help="of flights that the candidates learn from (30)")
    parser.add_argument("--swaps", type=int, default=50, help="of each candidate (50)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()
    interpreter.tune()  # as the services do
    print(f"learning from {options.days} days of flights")
    taught = by_flights(options.days)
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(measured(taught, options.swaps, Path(folder)))
    if options.write:
        results.put("swap", [*lines, "", *results.circumstances("swap", ("msgspec", "numpy", "river"))])


if __name__ == "__main__":
    main()
