"""Recoveries follow from when checkpoints come, and what could not be measured is told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chaos.owners import Owners
from chaos.recovery import Kill, Seen, distribution, distributions, unmeasured
from tests.unit.answering import pages_at

COMMIT_MS = 5


def seen(*moments: int) -> list[Seen]:
    """Checkpoints that came at these moments."""
    return [Seen(at, at - COMMIT_MS) for at in moments]


LATER = range(2300, 7000, 500)
SEEN = {("score", 0): seen(900, 3000), ("score", 1): seen(950, 1100, 1800, *LATER)}


def kill(*, alone: bool = True) -> Kill:
    return Kill(1000, "scoring", "restarted", frozenset({("score", 0)}), frozenset({("score", 1)}), alone)


def test_recovery_is_from_the_kill_to_the_first_later_checkpoint() -> None:
    """The killed process's lane counts from the kill, a healthy one by its longest silence after it."""
    found = distributions([kill()], SEEN)
    assert (found["restarted"].median, found["restarted"].lanes) == (2000, 1)
    assert found["pause"].worst == 700
    assert not found["pause"].met
    assert unmeasured([kill()], SEEN) == {}


def test_recovery_ends_when_the_commit_is_read() -> None:
    """It has the commit in it, however long that took, and what was written before the kill and came after it is none."""
    ours = [Seen(990, 985), Seen(1008, 999), Seen(1700, 1600)]
    found = distributions([kill()], SEEN | {("score", 0): ours})
    assert found["restarted"].median == 700
    never = unmeasured([kill()], SEEN | {("score", 0): ours[:2]})
    assert never == {"lanes without a checkpoint after the kill": 1}


def test_a_disturbed_kill_counts_only_among_all() -> None:
    """Where another fault was at work, a kill says nothing of the goal."""
    assert set(distributions([kill(alone=False)], SEEN)) == {"restarted, whatever else went on"}


@pytest.mark.parametrize(("times", "met"), [([1, 2, 2], True), ([1, 3, 3], False), ([1, 1, 21], False)])
def test_a_goal_is_met_by_median_and_worst(times: list[int], met: bool) -> None:
    """A goal holds when the median and the worst do."""
    found = distribution([times], 2, 20)
    assert found is not None
    assert found.met == met


def test_what_is_not_measured_is_counted() -> None:
    """Lanes that never came back or fell silent, one that two claimed, a process whose lanes nobody knew, one whose clock was wrong."""
    left_out = [
        msgspec.structs.replace(kill(), at_ms=9000),
        msgspec.structs.replace(kill(), contested=frozenset({("score", 2), ("score", 3)})),
        msgspec.structs.replace(kill(), lanes=frozenset(), told=False),
        msgspec.structs.replace(kill(), clock_right=False),
    ]
    assert unmeasured(left_out, SEEN) == {
        "lanes without a checkpoint after the kill": 1, "lanes that two processes claimed": 2,
        "kills of processes that had not told their lanes": 1, "kills while a clock was wrong": 1,
        "healthy lanes without a checkpoint before the kill or after its seconds": 1,
    }  # fmt: skip
    found = distributions(left_out, SEEN)["restarted"]
    assert (found.kills, found.lanes) == (1, 1)


def test_kills_are_counted_beside_lanes() -> None:
    """Five lanes of two kills are not five measurements; a kill of which nothing could be measured is none."""
    found = distribution([[1, 2, 3], [], [4, 5]], None, 20)
    assert found is not None
    assert (found.kills, found.lanes, found.median, found.worst) == (2, 5, 3, 5)


@pytest.mark.parametrize(
    "moments", [[], [950], [950, 1100, 1800], [*LATER]], ids=["none", "none after", "soon none", "none before"]
)
def test_a_healthy_lane_that_falls_silent_for_ever_has_no_short_pause(moments: list[int]) -> None:
    """How long a silence lasts that does not end, or that began nobody knows when, is not known: the lane is left out, and told."""
    by_lane = SEEN | {("score", 1): seen(*moments)}
    assert "pause" not in distributions([kill()], by_lane)
    silent = "healthy lanes without a checkpoint before the kill or after its seconds"
    assert unmeasured([kill(), kill(alone=False)], by_lane) == {silent: 1}


def test_a_silence_that_begins_in_the_seconds_after_the_kill_counts_to_its_end() -> None:
    """A lane that stops four seconds after the kill and goes on after twenty was silent for sixteen."""
    silent = seen(*range(900, 5100, 100), 21_000)
    assert distributions([kill()], SEEN | {("score", 1): silent})["pause"].worst == 16_000


def page(*lanes: int) -> str:
    return "".join(f'rivermill_lag_records{{input="e",lane="{lane}",stage="score"}} 0.0\n' for lane in lanes)


def test_whose_lanes_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that two claim is nobody's; a process that told nothing lately is not known to have any."""

    async def ask(owners: Owners) -> None:
        asked = asyncio.create_task(owners.run())
        async with asyncio.timeout(60):
            while not all(owners.of(name).told for name in ("scoring", "scoring-2")):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        asked.cancel()

    monkeypatch.setattr("chaos.owners._FRESH_S", 60.0)
    with pages_at(page(0, 1), page(1, 2)) as (first, second):
        owners = Owners(lambda: {"scoring": first, "scoring-2": second, "scoring-3": "http://127.0.0.1:1"})
        asyncio.run(ask(owners))
    assert owners.of("scoring") == ({("score", 0)}, {("score", 2)}, {("score", 1)}, True)
    assert owners.of("scoring-3") == (set(), {("score", 0), ("score", 1), ("score", 2)}, set(), False)
    monkeypatch.setattr("chaos.owners._FRESH_S", 0.0)
    assert not owners.of("scoring").told
