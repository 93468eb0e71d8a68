"""The function that is written for a plan does what the definition says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.standardise import CLIP, standardise

NAMES = ("a", "b'\"\\", "c\n}")
ENCODINGS = (("carrier", 2), ('from "here"', 1))
NUMBER = st.floats(-1e6, 1e6)


def defined(value: float | None, mean: float, scale: float) -> float:
    """River's ``StandardScaler``, a missing value being the mean, held within CLIP."""
    if value is None:
        return 0.0
    return min(max((value - mean) * scale, -CLIP), CLIP)


@given(
    st.integers(0, 3),
    st.integers(0, 2),
    st.lists(st.none() | NUMBER, min_size=3, max_size=3),
    st.lists(NUMBER, min_size=9, max_size=9),
)
def test_every_column_is_what_the_definition_says(
    numbers: int, encodings: int, features: list[float | None], drawn: list[float]
) -> None:
    """For any numbers, missing or not, and any encodings, each column equals the definition to the bit."""
    rows = {name: drawn[:length] for name, length in ENCODINGS[:encodings]}
    values = [*features[:numbers], *(value for row in rows.values() for value in row)]
    means, scales = drawn[3 : 3 + len(values)], [abs(each) for each in drawn[-len(values) or len(drawn) :]]
    missing: list[int] = []
    event = dict(zip(NAMES, features, strict=True)) | {"unknown": "x"}
    dense = standardise(NAMES[:numbers], ENCODINGS[:encodings])(event, rows, means, scales, missing)
    assert dense == [defined(*each) for each in zip(values, means, scales, strict=True)]
    assert missing == [index for index, value in enumerate(features[:numbers]) if value is None]


@pytest.mark.parametrize(
    ("features", "rows"),
    [
        ({"a": 1.0}, {"carrier": [0.0, 0.0]}),
        ({"a": 1.0, NAMES[1]: 1.0}, {}),
        ({"a": 1.0, NAMES[1]: 1.0}, {"carrier": [0.0]}),
    ],
)
def test_what_is_of_another_plan_is_refused(features: dict[str, float], rows: dict[str, list[float]]) -> None:
    """An absent feature, an absent encoding or a row of another length raises, and is never taken for a number."""
    dense = standardise(NAMES[:2], ENCODINGS[:1])
    with pytest.raises((KeyError, ValueError)):
        dense(features, rows, [0.0] * 4, [1.0] * 4, [])
