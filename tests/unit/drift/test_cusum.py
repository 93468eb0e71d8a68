from __future__ import annotations

import random

import pytest

from services.drift.core.cusum import ACCEPTED, LEARNING, RETURNED, Cusum, Reference, Verdict, threshold

BLOCKS = random.Random(7)  # noqa: S311 - a seeded test stream


def learned(blocks: int = 200) -> Cusum:
    cusum = Cusum()
    for _ in range(blocks):
        value = BLOCKS.gauss(0, 1)
        assert cusum.step(value, value, 0.0, 10.0) is Verdict.NOTHING
    return cusum


def until(cusum: Cusum, value: float, wanted: Verdict, most: int) -> int:
    for block in range(1, most + 1):
        if cusum.step(value + BLOCKS.gauss(0, 0.3), value, 0.0, 10.0) is wanted:
            return block
    raise AssertionError(f"no {wanted} within {most} blocks")


def test_one_block_alone_raises_no_flag() -> None:
    """A single block, however far away, does not flag, and is forgotten."""
    cusum = learned()
    assert cusum.step(1e12, 0.0, 0.0, 10.0) is Verdict.NOTHING
    for _ in range(10):
        assert cusum.step(0.0, 0.0, 0.0, 10.0) is Verdict.NOTHING
    assert cusum.up == 0.0


def test_a_shift_flags_and_comes_back() -> None:
    """A shift of 6 deviations flags within 7 blocks either way; its end is seen within a few blocks of normal."""
    for shift in (6.0, -6.0):
        cusum = learned()
        assert until(cusum, shift, Verdict.FLAGGED, 7) >= 4
        before = cusum.reference.mean
        for _ in range(20):
            cusum.step(shift, shift, 0.0, 10.0)
        assert cusum.reference.mean == before
        assert until(cusum, 0.0, Verdict.CAME_BACK, RETURNED + 2)
        assert abs(cusum.reference.mean) < 0.5


def test_a_small_persistent_shift_is_not_taken_for_a_return() -> None:
    """Blocks two deviations away lie within the reference one by one, but not in the mean: the shift is accepted."""
    cusum = Cusum(reference=Reference(blocks=120, var=1.0))
    until(cusum, 2.5, Verdict.FLAGGED, 60)
    assert until(cusum, 2.5, Verdict.NEW_NORMAL, ACCEPTED) == ACCEPTED - 1
    assert cusum.reference.mean == pytest.approx(2.5, abs=0.3)


def test_a_constant_that_changes_is_seen() -> None:
    """A statistic that never varied flags when it takes another value."""
    cusum = Cusum()
    for _ in range(LEARNING):
        cusum.step(1.0, 1.0, 1e-9, 10.0)
    assert until(cusum, 5.0, Verdict.FLAGGED, 7)


def test_a_flag_without_blocks_ends_and_the_next_one_is_counted_anew() -> None:
    """Sixty blocks without the statistic end a flag, each time; the reference stays as it was."""
    cusum = learned()
    assert cusum.miss() is Verdict.NOTHING
    for _ in range(2):
        until(cusum, 6.0, Verdict.FLAGGED, 7)
        before = cusum.reference.mean
        assert [cusum.miss() for _ in range(ACCEPTED)] == [*[Verdict.NOTHING] * (ACCEPTED - 1), Verdict.NEW_NORMAL]
        assert (cusum.out, cusum.reference.mean) == (0, before)


def test_threshold_of_the_flights_is_about_ten() -> None:
    """With 78 sums, 4.5 blocks a day and a false alarm in ten days h is about 10; rarer alarms raise it."""
    assert threshold(0.1, 4.5, 78) == pytest.approx(10.0, abs=0.3)
    assert threshold(0.01, 4.5, 78) > threshold(0.1, 4.5, 78) > threshold(10.0, 4.5, 78) >= 4.0
