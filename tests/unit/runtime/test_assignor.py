from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.assignor import share

LIVE = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]), st.lists(st.integers(0, 12), unique=True), min_size=1, max_size=5
)


@given(lanes=st.integers(0, 12), live=LIVE)
def test_every_lane_has_one_owner(lanes: int, live: dict[str, list[int]]) -> None:
    """Each lane goes to exactly one member, and no lane is made up."""
    owned = share(lanes, live)
    assert sorted(lane for lanes_of in owned.values() for lane in lanes_of) == list(range(lanes))
    assert owned.keys() == live.keys()


@given(lanes=st.integers(0, 12), live=LIVE)
def test_shares_differ_by_at_most_one(lanes: int, live: dict[str, list[int]]) -> None:
    """No member has two lanes more than another."""
    sizes = [len(lanes_of) for lanes_of in share(lanes, live).values()]
    assert max(sizes) - min(sizes) <= 1


@given(lanes=st.integers(0, 12), live=LIVE)
def test_a_settled_assignment_stays(lanes: int, live: dict[str, list[int]]) -> None:
    """Assigning again from what an assignment led to changes nothing."""
    once = share(lanes, live)
    assert share(lanes, once) == once


@given(lanes=st.integers(1, 12), members=st.integers(1, 5))
def test_a_newcomer_takes_only_its_share(lanes: int, members: int) -> None:
    """When a member joins, lanes move to it alone."""
    before = share(lanes, {f"m{i}": [] for i in range(members)})
    after = share(lanes, {**before, "new": []})
    for member, lanes_of in before.items():
        assert set(after[member]) <= set(lanes_of)
