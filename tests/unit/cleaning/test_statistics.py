from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cleaning.core import Clean
from services.cleaning.core.statistics import BooleanProfile, CategoryProfile, NumberProfile, Robust
from tests.unit.cleaning.pipelines import HERE, NOON, NOW, TOPICS, cleaned, dead, event, pipeline, raw, rules

UNIT = statistics.NormalDist(0, 1)
NUMBERS = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=80)


@settings(max_examples=100)
@given(NUMBERS, st.integers(0, 80))
def test_a_profile_is_that_of_the_values_however_they_are_cut(column: list[float | None], cut: int) -> None:
    """Count, missing, mean, variance and extremes are the textbook's, bit for bit the same in one piece or two."""
    whole, parts = NumberProfile(), NumberProfile()
    whole.extend(column)
    parts.extend(column[:cut])
    parts.extend(column[cut:])
    values = [value for value in column if value is not None]
    assert whole == parts
    assert (whole.count, whole.missing) == (len(values), len(column) - len(values))
    if values:
        assert (whole.low, whole.high, whole.last) == (min(values), max(values), values[-1])
        assert whole.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
        assert whole.variance == pytest.approx(statistics.pvariance(values), rel=1e-6, abs=1e-3)


@settings(max_examples=100)
@given(st.lists(st.floats(-1e100, 1e100) | st.sampled_from([0.0, -0.0]), min_size=1, max_size=12), st.integers(20, 90))
def test_a_long_column_at_once_is_the_same_bit_for_bit(values: list[float], times: int) -> None:
    """Hundreds of numbers in one piece, as numpy adds them, and in pieces too short for it, zeros' signs included."""
    column = values * times
    whole, parts = NumberProfile(), NumberProfile()
    whole.extend(column)
    for start in range(0, len(column), 7):
        parts.extend(column[start : start + 7])
    assert repr(whole) == repr(parts)


def test_the_profile_of_categories_counts_distinct_values() -> None:
    """Linear counting is exact for a few values and close for hundreds."""
    for distinct in (0, 1, 2, 3, 300):
        profile = CategoryProfile()
        for _ in range(3):
            profile.extend([None, *(f"value {n}" for n in range(distinct))])
        assert profile.distinct == pytest.approx(distinct, rel=0.12)
        assert (profile.count, profile.missing) == (3 * distinct, 3)


def test_the_profile_of_booleans_counts_true_ones() -> None:
    """Missing is neither true nor false."""
    profile = BooleanProfile()
    profile.extend([True, None, False, True])
    assert (profile.count, profile.missing, profile.true, profile.last, profile.distinct) == (3, 1, 2, True, 2)


@pytest.mark.parametrize("size", [3, 31])
def test_median_and_mad_are_close_to_the_true_ones_despite_dirt(size: int) -> None:
    """With one value in ten wild, median and MAD of normal numbers are found within a tenth of the deviation."""
    robust = Robust(size, 8.0)
    for n, value in enumerate(statistics.NormalDist(100, 10).samples(5000, seed=7)):
        robust.block.append(1e9 if n % 10 == 3 else value)
        if len(robust.block) == size:
            robust.turn()
    assert robust.median == pytest.approx(101.4, abs=1.5)  # a tenth above: the quantile is that of 0.5 / 0.9
    assert robust.mad * 1.4826 == pytest.approx(11.5, abs=2.5)


OUTLIERS = '[features.x]\ntype = "number"\nmissing = "{missing}"\noutliers = {{ method = "mad", threshold = 8.0, then = "{then}" }}'


def lane(features: str, values: list[Any]) -> tuple[list[Any], list[list[str]], list[str]]:
    """The clean values of one feature on one lane, the rules of each event's changes, and the rules of dead letters."""
    core = Clean(pipeline(features), 0, 4, TOPICS)
    batch = [event({"id": HERE[n], "at": NOON, "x": value}) for n, value in enumerate(values)]
    out = core.process(batch, NOW)
    events = cleaned(out)
    return [e.features["x"] for e in events], [[c.rule for c in e.changes] for e in events], rules(dead(out))


@pytest.mark.parametrize(
    ("then", "noted"),
    [("clip", ["outlier_clip"]), ("missing", ["outlier_missing"]), ("keep", []), ("reject", ["outlier"])],
)
def test_an_outlier_goes_the_way_the_file_says(then: str, noted: list[str]) -> None:
    """Once the lane knows its numbers, one far from the median is clipped, missing, kept or rejected."""
    values, changes, letters = lane(OUTLIERS.format(missing="keep", then=then), [*UNIT.samples(200, seed=3), 50])
    assert (letters or changes[-1]) == noted
    assert sum(map(bool, changes[:200])) == 0
    if then == "clip":
        assert 5 < values[-1] < 15
    elif then != "reject":
        assert values[-1] == (50.0 if then == "keep" else None)


@pytest.mark.parametrize("then", ["clip", "missing", "reject"])
def test_a_new_level_is_learned_and_not_rejected_for_ever(then: str) -> None:
    """When most values move, they stop being outliers: estimates see values as they came."""
    values = UNIT.samples(400, seed=3) + statistics.NormalDist(100, 1).samples(1500, seed=4)
    _, changes, letters = lane(OUTLIERS.format(missing="keep", then=then), values)
    assert any(changes) or letters
    assert not any(changes[-300:])
    assert changes[-1:] == [[]]


def test_mostly_equal_numbers_have_no_outliers() -> None:
    """A MAD of zero says nothing: no value is touched."""
    values, changes, _ = lane(OUTLIERS.format(missing="keep", then="clip"), [0.0] * 100 + [3.0] + [0.0] * 20)
    assert values[100] == 3.0
    assert not any(changes)


@pytest.mark.parametrize(("missing", "expected"), [("mean", 4.0), ("median", 3.0), ("last", 7.0), ("keep", None)])
def test_a_statistic_stands_in_for_a_missing_value(missing: str, expected: float | None) -> None:
    """Mean, median and last are of the events before, imputed values not among them."""
    values, changes, _ = lane(f'[features.x]\ntype = "number"\nmissing = "{missing}"', [None, 2, 3, 7, None, None])
    assert values == [None, 2.0, 3.0, 7.0, expected, expected]
    assert changes[0] == []
    assert changes[4] == changes[5] == ([] if missing == "keep" else [f"imputed_{missing}"])


def test_profiles_name_what_a_lane_knows_and_which_fields_never_vary() -> None:
    """After 1,000 equal values a field is invariable; missing values and other fields do not make it so."""
    core = Clean(pipeline(), 0, 4, TOPICS)
    batch = [event(raw(n, gates=n, temp=None if n % 2 else 1.0)) for n in range(1100)]
    core.process(batch[:600], NOW)
    core.process(batch[600:], NOW)
    profiles = core.profiles()
    assert {name for name, profile in profiles.items() if profile.invariable} == {
        "distance", "weight", "holiday", "vip", "carrier", "origin", "remark"
    }  # fmt: skip
    gates = profiles["gates"]
    assert (gates.count, gates.missing, gates.low, gates.high, gates.mean) == (1100, 0, 0.0, 1099.0, 549.5)
    assert (profiles["temp"].count, profiles["temp"].missing, profiles["temp"].median) == (550, 550, 1.0)


def test_the_time_that_remembered_ids_cover_is_told() -> None:
    """The span is between the arrival of the oldest and the newest id remembered, to the nearest batch."""
    core = Clean(pipeline(event="dedupe_ids = 10"), 0, 4, TOPICS)
    spans = []
    for n in range(40):
        core.process([event(raw(n), stamp=NOW + 1000 * n)], NOW)
        spans.append(core.dedupe_span)
    assert spans[:3] == [0, 1000, 2000]
    assert set(spans[12:]) == {10_000}
