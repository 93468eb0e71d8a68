"""Tables that say by themselves whether their goal is met."""

from __future__ import annotations

import pytest

from bench import awaited, cores, goals, swap
from services.learner.core.values import MOST_IN_MEMORY


def test_cleaning_is_held_against_its_floor_by_workload():
    """The ratio of the two rows of each, missed beyond 2.5 times."""
    found = {
        "ten numbers, tidy": 8.0, "ten numbers: decode and encode alone": 2.0,
        "flights, tidy": 10.0, "flights: decode and encode alone": 5.0,
    }  # fmt: skip
    assert cores.cleaning_goals(found)[2:] == [
        "| ten numbers | ≤ 2.5× CPU | 4.0× | **missed** by 60 % |",
        "| flights | ≤ 2.5× CPU | 2.0× | met by 20 % |",
    ]


@pytest.mark.parametrize(("found", "told"), [(1.5, "**missed** by 50 %"), (0.75, "met by 25 %"), (1.0, "met by 0 %")])
def test_a_time_may_be_as_long_as_its_bound(found, told):
    """And how far it is from it is a share of the bound."""
    assert goals.at_most(found, 1.0) == told


def test_the_longest_pause_of_all_swaps_is_held_against_the_goal():
    """Not the median, which stands beside it; a turn without a swap is no pause, and a model without a goal no verdict."""
    found = [swap.Swap(20.0, 1.0, 0.5), swap.Swap(30.0, 1.25, 2.5), swap.Swap(40.0, 3.5, 0.75)]
    told = "| forest | 21 | 30.0 | 0.50 | 0.75 | 3.00 |"
    assert swap.row("forest", 21_000, 0.5, found, 2.0) == f"{told} ≤ 2 | **missed** by 50 % | 0.25 | 2.00 |"
    assert swap.row("forest", 21_000, 0.5, found, None) == f"{told} |  | 0.25 | 2.00 |"


@pytest.mark.parametrize(
    ("labels", "on_disk", "memory", "met"),
    [
        (10_000, 0, 300.0, True),
        (10_000, 0, 900.0, True),  # fewer than go to the disk
        (MOST_IN_MEMORY + 10, 10, 900.0, True),
        (MOST_IN_MEMORY + 10, 9, 900.0, False),
        (MOST_IN_MEMORY + 10, 0, 400.0, True),
    ],
)
def test_an_awaited_label_is_small_or_its_prediction_on_disk(labels, on_disk, memory, met):
    """At most 400 bytes, or no more in memory than the stated number."""
    assert awaited.Awaited(labels, 500, on_disk, memory, 4.0).verdict().startswith("met") is met


def test_labels_are_answered_while_others_wait():
    """Of 2,000 awaited, each label meets its prediction, and the CPU of that is measured."""
    found = awaited.awaited(2000)
    assert (found.labels, found.on_disk) == (2000, 0)
    assert 400 < found.size < 700
    assert 0 < found.us < 1000
