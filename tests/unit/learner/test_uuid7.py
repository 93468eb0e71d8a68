from __future__ import annotations

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from services.learner.core.uuid7 import uuid7

MOMENTS = st.integers(0, 2**48 - 1)
RANDOM = st.integers(0, 2**74 - 1)


@given(moment=MOMENTS, randomness=RANDOM)
def test_it_is_a_version_7_uuid(moment: int, randomness: int) -> None:
    """Version and variant are RFC 9562's, and the time is in the first 48 bits."""
    made = UUID(uuid7(moment, randomness))
    assert made.version == 7
    assert made.variant == RFC_4122
    assert made.int >> 80 == moment


@given(first=MOMENTS, second=MOMENTS, randomness=RANDOM)
def test_a_later_one_is_greater(first: int, second: int, randomness: int) -> None:
    """Their text sorts as their times do."""
    if first < second:
        assert uuid7(first, randomness) < uuid7(second, randomness)
