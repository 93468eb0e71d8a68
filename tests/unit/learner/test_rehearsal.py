from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.learner.training import rehearse
from services.runtime.settings import SettingsError
from tests.unit.stream import HEAD, TREE, control, spec

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


_START = """
import asyncio, sys, threading
from pathlib import Path
from services.domain.spec import parse
from services.learner import app as learner
from services.runtime.launch import Deployment
from services.runtime.settings import Settings
from services.scoring import app as scoring

asked = []

class Watch:
    def find_spec(self, name, *_):
        if name.startswith("river"):
            asked.append(threading.current_thread())

sys.meta_path.insert(0, Watch())
deployment = Deployment(parse(sys.argv[1]), Settings(signing_key=b"0123456789abcdef", data_dir=Path(sys.argv[2])))
counts = {topic.name: topic.partitions for topic in deployment.table()}
scoring.wire(deployment, counts)
stages, _ = learner.wire(deployment, counts, "train")
assert not asked, "River is imported before anything runs"

async def opened():
    await (await stages[0].open(0, None)).close()

asyncio.run(opened())
assert "river.tree" in sys.modules
assert threading.main_thread() not in asked, "River is imported where the event loop runs"
"""


def test_a_trees_library_is_imported_beside_the_lanes(tmp_path: Path) -> None:
    """It takes seconds: other lanes need not wait for it, and heartbeats must not. It is there before the fold is opened."""
    program = [sys.executable, "-c", _START, HEAD.format(task="binary") + TREE, str(tmp_path)]
    ran = subprocess.run(program, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
