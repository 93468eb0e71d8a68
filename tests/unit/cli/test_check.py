"""rivermill check: a pipeline file in words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.__main__ import main
from services.cli.check import compared, described
from services.domain.spec import SpecError
from services.runtime.launch import load

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "pipeline.toml"
TREES = FLIGHTS.with_name("pipeline-trees.toml")


def test_a_pipeline_is_told_with_its_features_candidates_and_hash():
    """Name, task, features by type, crosses, encodings, candidates and topics all appear."""
    told = described(load(FLIGHTS))
    for part in ("flights: a binary task, spec ", "10 numbers     distance", "1 boolean      holiday",
                 "hour (derived)", "6 crosses      carrier*origin", "* (logit 10/100/1000)",
                 "2 candidates   logistic (logistic_regression)", "17 under flights.*, 2 partitions each"):  # fmt: skip
        assert part in told


def test_a_change_is_told_with_its_kind():
    """Against another file the kind of the change and each difference are told."""
    assert "may be taken up in place" in compared(load(FLIGHTS), load(TREES))
    assert "model.candidates.adaptive-tree: added" in compared(load(FLIGHTS), load(TREES))
    assert "no difference" in compared(load(FLIGHTS), load(FLIGHTS))


def test_a_change_that_cannot_be_is_told_with_what_to_do(tmp_path):
    """Other partitions need a new pipeline name, and the report says so."""
    other = tmp_path / "p.toml"
    other.write_text(FLIGHTS.read_text("utf-8").replace("partitions = 2", "partitions = 8"), "utf-8")
    told = compared(load(FLIGHTS), load(other))
    assert "it is another pipeline" in told
    assert "topics.partitions: 2 → 8" in told
    assert "use a new pipeline name" in told


def test_foreign_topics_are_told(tmp_path):
    """A topic of the producer's own takes the place of ours."""
    other = tmp_path / "p.toml"
    other.write_text(FLIGHTS.read_text("utf-8").replace("[event]\n", '[event]\ntopic = "departures"\n'), "utf-8")
    assert "16 under flights.*, 2 partitions each but 5 of one; events.raw is departures" in described(load(other))


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path):
    """Neither a missing file, a folder nor another encoding ends in a bare traceback."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# café".encode("latin-1"))
    for path in (tmp_path / "none.toml", tmp_path, latin):
        with pytest.raises(SpecError, match=re.escape(str(path))):
            load(path)


def test_a_byte_order_mark_is_read_over(tmp_path):
    """Editors on Windows write one; it is no mistake."""
    marked = tmp_path / "p.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + FLIGHTS.read_bytes())
    assert load(marked) == load(FLIGHTS)


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["check", *arguments])
    return int(exit_.value.code or 0)


def test_the_exit_code_says_whether_a_change_may_be_taken_up(tmp_path, capsys):
    """It is 0 for a change in place and 1 for one that needs a new pipeline name."""
    other = tmp_path / "p.toml"
    other.write_text(FLIGHTS.read_text("utf-8").replace("partitions = 2", "partitions = 8"), "utf-8")
    assert ended(str(FLIGHTS)) == 0
    assert ended(str(TREES), "--against", str(FLIGHTS)) == 0
    assert ended(str(other), "--against", str(FLIGHTS)) == 1
    assert "it is another pipeline" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["nosuch.mod:make", "json:dumps"])
def test_candidates_are_tried(place, tmp_path, capsys):
    """A factory that cannot be imported, or makes no estimator, is told by `check`, not first by the learner."""
    own = tmp_path / "p.toml"
    own.write_text(f'{FLIGHTS.read_text("utf-8")}\n[[model.candidates]]\nname = "own"\nfactory = "{place}"\n', "utf-8")
    assert ended(str(own)) == 2
    told = capsys.readouterr()
    assert "a candidate of the pipeline file cannot be used" in told.err
    assert told.out == ""


def test_a_factory_may_lie_where_the_services_are_started(tmp_path):
    """The installed command finds a module of the current directory, as `python -m services.learner` does."""
    (tmp_path / "own_models.py").write_text("from river import linear_model\nmake = linear_model.LogisticRegression\n")
    own = tmp_path / "p.toml"
    candidate = '\n[[model.candidates]]\nname = "own"\nfactory = "own_models:make"\n'
    own.write_text(FLIGHTS.read_text("utf-8") + candidate, "utf-8")
    command = Path(sys.executable).with_name("rivermill")
    done = subprocess.run([command, "check", own.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "own (own_models:make)" in done.stdout
