from __future__ import annotations

import subprocess
import sys

import pytest

from services.learner.training import rehearse
from services.runtime.settings import SettingsError
from tests.unit.stream import control, spec

FACTORY = """
[[model.candidates]]
name = "own"
factory = "{place}"
"""


def test_a_pipeline_whose_candidates_can_be_made_passes() -> None:
    """Linear candidates are made and dumped without a word."""
    rehearse(control(spec()))


@pytest.mark.parametrize(
    "place",
    ["nowhere.at.all:make", "json:dumps", "json:no_such_function", "sys:exit", "tests.unit.estimators:stillborn"],
)
def test_a_candidate_that_cannot_be_made_never_gets_into_the_log(place: str) -> None:
    """A factory that cannot be imported, or makes no estimator that can be kept, is one clear error before any record."""
    with pytest.raises(SettingsError, match=r"candidate .* cannot be used .* nothing was written"):
        rehearse(control(spec(FACTORY.format(place=place))))


def test_a_trees_library_is_there_before_the_event_loop_is() -> None:
    """Importing River takes seconds, in which a group's member would miss its heartbeats: it is done before it joins."""
    program = (
        "import sys; from services.domain import catalogue; from services.domain.spec import Candidate; "
        'catalogue.prepare([Candidate("tree", model="hoeffding_adaptive_tree")]); sys.exit("river.tree" not in sys.modules)'
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
