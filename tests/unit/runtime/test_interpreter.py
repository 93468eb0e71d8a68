"""How the interpreter is set for lanes."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from services.runtime import interpreter

_TUNED = """
import gc, sys
from services.runtime import interpreter
interpreter.tune()
print(gc.get_freeze_count() > 0, gc.get_threshold()[0], sys.getswitchinterval() < 0.0002)
"""


def test_a_service_searches_for_cycles_seldom_and_lets_threads_have_their_turn() -> None:
    """What is imported is left out of the search; a thread that waits need not be signalled first."""
    told = subprocess.run([sys.executable, "-c", _TUNED], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "50000", "True"]


def test_what_is_built_is_not_searched() -> None:
    """No collection runs while objects are made, and none of the young ones is left to the next; then all is as before."""
    gc.collect()
    collections = [generation["collections"] for generation in gc.get_stats()]
    with interpreter.building():
        made = [[number] for number in range(5 * gc.get_threshold()[0])]
    assert gc.isenabled()
    assert [generation["collections"] for generation in gc.get_stats()] == collections
    assert gc.get_count()[0] < gc.get_threshold()[0]
    assert gc.get_freeze_count() == 0
    assert gc.is_tracked(made[0])


def test_a_failure_leaves_the_search_on() -> None:
    """What could not be built changes nothing."""
    with pytest.raises(ValueError, match="no model"), interpreter.building():
        raise ValueError("no model")
    assert gc.isenabled()
