from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.summaries import FeatureMoments, Moments, Summary
from services.drift.core.blocks import Blocks, Order, Part, merge_features
from tests.unit.drift import streams

MOMENTS = st.builds(
    FeatureMoments, count=st.just(0), missing=st.integers(0, 9), sum=st.integers(-99, 99).map(float),
    clipped_count=st.integers(0, 16), centre=st.integers(-9, 9).map(float), clipped=st.integers(-99, 99).map(float),
    clipped_sq=st.integers(0, 999).map(float),
)  # fmt: skip


def merged(*parts: FeatureMoments) -> FeatureMoments:
    into = FeatureMoments()
    for part in parts:
        merge_features(into, part)
    return into


def from_zero(moments: FeatureMoments) -> tuple[float, ...]:
    n, c = moments.clipped_count, moments.centre if moments.clipped_count else 0.0
    clipped = moments.clipped if n else 0.0
    square = moments.clipped_sq if n else 0.0
    return n, moments.missing, moments.sum, clipped + n * c, square + 2 * c * clipped + n * c * c


def part(lane: int, minute: int, offset: int, events: int = 50) -> Part:
    time = streams.START + timedelta(minutes=minute)
    summary = Summary(lane, "predictions", 0, 0, time, time, events, {}, Moments(), {}, "s", time)
    return Part(offset, 0, summary)


@given(MOMENTS, MOMENTS, MOMENTS)
def test_merging_is_associative(a: FeatureMoments, b: FeatureMoments, c: FeatureMoments) -> None:
    """Parts about different centres merge to the same moments in any grouping (exactly, on whole numbers)."""
    assert from_zero(merged(merged(a, b), c)) == from_zero(merged(a, merged(b, c))) == from_zero(merged(c, b, a))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2), min_size=30, max_size=30))
def test_lanes_may_run_ahead_of_each_other(turns: list[int]) -> None:
    """However lanes interleave in the log, parts are merged in the same order of event time."""
    todo = {lane: [part(lane, minute * 10 + lane, 0) for minute in range(12)] for lane in range(3)}
    log = [todo[lane].pop(0) for lane in turns if todo[lane]]
    log += [each for lane in range(3) for each in todo[lane]]
    order = Order(3, 100, timedelta(hours=6))
    out = [ready.key for offset, each in enumerate(log) for ready in order.add(Part(offset, 0, each.summary))]
    # the last parts of two lanes may still wait for the third
    assert [key[:2] for key in out] == sorted(each.key[:2] for each in log)[: len(out)]
    assert len(out) >= 34


def test_a_silent_lane_is_given_up_and_welcome_back() -> None:
    """A lane that keeps more parts waiting than the limit is passed by; what it brings later, if not too late, is used."""
    order = Order(2, 5, timedelta(hours=1))
    out = [ready for i in range(20) for ready in order.add(part(0, i, i))]
    assert len(out) == 20
    assert [ready.offset for ready in order.add(part(1, 15, 20))] == [20]
    assert list(order.add(part(1, -100, 21))) == []
    assert order.late == 1


def test_blocks_end_when_full_or_for_time() -> None:
    """A block is full at its events, and ends for its time alone with at least an eighth of them."""
    blocks = Blocks(streams.spec())
    ends = [blocks.add(part(0, minute, 0, 100).summary) is not None for minute in (0, 10, 20, 30)]
    assert ends == [False, True, False, True]
    ends = [blocks.add(part(0, minute, 0, 10).summary) is not None for minute in (100, 461, 462, 463)]
    assert ends == [False, False, True, False]
