"""rivermill check: a pipeline file in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.cli.check import check
from services.domain.spec import SpecError
from services.runtime.launch import load

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "pipeline.toml"
TREES = FLIGHTS.with_name("pipeline-trees.toml")


def test_a_pipeline_is_told_with_its_features_candidates_and_hash():
    """Name, task, features by type, crosses, encodings, candidates and topics all appear."""
    told = check(FLIGHTS)
    for part in ("flights: a binary task, spec ", "10 numbers     distance", "1 boolean      holiday",
                 "hour (derived)", "6 crosses      carrier*origin", "* (logit 10/100/1000)",
                 "2 candidates   logistic (logistic_regression)", "17 under flights.*, 4 partitions each"):  # fmt: skip
        assert part in told


def test_a_change_is_told_with_its_kind():
    """Against another file the kind of the change and each difference are told."""
    assert "may be taken up in place" in check(TREES, load(FLIGHTS))
    assert "model.candidates.adaptive-tree: added" in check(TREES, load(FLIGHTS))
    assert "no difference" in check(FLIGHTS, load(FLIGHTS))


def test_a_change_that_cannot_be_is_told_with_what_to_do(tmp_path):
    """Other partitions need a new pipeline name, and the report says so."""
    other = tmp_path / "p.toml"
    other.write_text(FLIGHTS.read_text("utf-8").replace("partitions = 4", "partitions = 8"), "utf-8")
    told = check(other, load(FLIGHTS))
    assert "it is another pipeline" in told
    assert "topics.partitions: 4 → 8" in told
    assert "use a new pipeline name" in told


def test_foreign_topics_are_told(tmp_path):
    """A topic of the producer's own takes the place of ours."""
    other = tmp_path / "p.toml"
    other.write_text(FLIGHTS.read_text("utf-8").replace("[event]\n", '[event]\ntopic = "departures"\n'), "utf-8")
    assert "16 under flights.*, 4 partitions each but 5 of one; events.raw is departures" in check(other)


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path):
    """Neither a missing file, a folder nor another encoding ends in a bare traceback."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# café".encode("latin-1"))
    for path in (tmp_path / "none.toml", tmp_path, latin):
        with pytest.raises(SpecError, match=re.escape(str(path))):
            check(path)


def test_a_byte_order_mark_is_read_over(tmp_path):
    """Editors on Windows write one; it is no mistake."""
    marked = tmp_path / "p.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + FLIGHTS.read_bytes())
    assert load(marked) == load(FLIGHTS)
