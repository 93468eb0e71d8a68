from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import deadletter
from schemas.codec import encode
from services.domain import live
from services.learner.core.train import LIVE_AT_LEAST_MS, Train
from services.learner.training import TrainDriver
from services.runtime.launch import Deployment
from services.runtime.metrics import LIVE_WITHHELD
from services.runtime.settings import Settings
from tests.unit.records import Rec
from tests.unit.stream import LOGISTIC, TREE, control, examples, spec

KEY = b"the-learner's-own-key"
JUNK = (None, b"", b"junk", b"{}", b"\xff", b"[" * 10_000, b'{"kind":"other"}', b'{"kind":"example"}')


def record(value: bytes | None, offset: int) -> Rec:
    return Rec("flights.examples", 0, offset, 1000 + offset, b"key", value)


def log(count: int = 60) -> list[Rec]:
    values = [encode(control(spec())), *(encode(example) for example in examples(count))]
    for index, junk in enumerate(JUNK):
        values.insert(5 + 5 * index, junk)  # type: ignore[arg-type]
    return [record(value, offset) for offset, value in enumerate(values)]


def blobs(train: Train) -> list[bytes]:
    return [taken.blob for taken in train.fold.snapshots()]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 69), max_size=6))
def test_batches_do_not_matter(cuts):
    """Splitting the log into batches anywhere gives the same fold, totals and dead letters."""
    records = log()
    whole, parts = Train(), Train()
    letters = whole.process(records, 0).sends["deadletter", 0]
    ends = [0, *sorted(cuts), len(records)]
    found: list[object] = []
    for start, end in pairwise(ends):
        found += parts.process(records[start:end], 0).sends.get(("deadletter", 0), [])
    assert found == letters
    assert parts.totals == whole.totals
    assert blobs(parts) == blobs(whole)


def test_poison_becomes_dead_letters_and_counts():
    """Undecodable records go to deadletter untouched, and everything else is folded and counted."""
    train = Train()
    output = train.process(log(), 0)
    assert list(output.sends) == [("deadletter", 0)]
    letters = output.sends["deadletter", 0]
    assert [letter.value for letter in letters] == list(JUNK)
    assert all((deadletter.RULE, b"undecodable") in letter.headers for letter in letters)
    corrected = sum(example.corrects is not None for example in examples(60))
    assert train.totals == {
        "examples": 60 - corrected, "corrections": corrected, "controls": 1, "deadletter.undecodable": len(JUNK),
    }  # fmt: skip
    assert train.fold.offset == len(log())
    assert train.fold.label_came_in_ms == 1000 + len(log()) - 1


def test_refolding_is_silent():
    """Folding again what was folded before a restart gives the same fold and touches no total."""
    train, again = Train(), Train()
    train.process(log(), 0)
    again.refold(log())
    assert blobs(again) == blobs(train)
    assert again.totals == {"examples": 0, "corrections": 0, "controls": 0}


def test_a_control_record_is_due_until_the_file_in_force_is_ours():
    """An empty log and a log under another pipeline file lack our control record."""
    train = Train()
    assert train.control_due(control(spec()).spec)
    train.process([record(encode(control(spec())), 0)], 0)
    assert not train.control_due(control(spec()).spec)
    assert train.control_due(control(spec(LOGISTIC + TREE)).spec)


def trained(count: int) -> Train:
    train = Train()
    train.process([record(encode(it), offset) for offset, it in enumerate([control(spec()), *examples(count)])], 0)
    return train


def test_versions_are_due_at_first_and_then_by_count_and_time():
    """Untrained candidates are published at once; later both so many examples and so many seconds must pass."""
    train = Train()
    assert not train.versions_due(0)
    train = trained(0)
    assert train.versions_due(0)
    train.published({"logistic": 1, "sgd": 2}, 0, 1_000, "snapshot")
    assert train.standing().snapshot == "snapshot"
    assert not train.versions_due(100_000)
    more = [record(encode(it), offset) for offset, it in enumerate(examples(100), 1)]
    train.process(more[:99], 0)
    assert not train.versions_due(100_000)
    train.process(more[99:], 0)
    assert [train.versions_due(now) for now in (5_999, 6_000)] == [False, True]
    assert train.versions_due(0), "a clock set back does not delay versions for long"


def test_a_new_candidate_makes_versions_due():
    """A candidate without a version is published without waiting, with all others."""
    train = trained(3)
    train.published({"logistic": 1, "sgd": 2}, 3, 0)
    assert not train.versions_due(1)
    train.process([record(encode(control(spec(LOGISTIC + TREE))), 4)], 0)
    assert train.versions_due(1)
    assert [it.candidate for it in train.fold.snapshots()] == ["logistic", "sgd", "tree"]


def test_live_parameters_are_due_by_change_time_and_rate():
    """They are due when something changed, never before a version, not too soon, and anyway after ten minutes."""
    train = trained(3)
    assert not train.live_due(0)
    train.published({"logistic": 1, "sgd": 2}, 3, 0)
    assert train.live_due(0)
    parameters = train.live()
    assert parameters is not None
    assert {name: it.version for name, it in parameters.candidates.items()} == {"logistic": 1, "sgd": 2}
    assert train.live_published(1_000, parameters.examples_offset, 0)
    assert not train.live_due(LIVE_AT_LEAST_MS - 1)
    assert train.live_due(LIVE_AT_LEAST_MS)
    train.process([record(encode(examples(1)[0]), 4)], 0)
    assert [train.live_due(now) for now in (99, 100)] == [False, True]
    assert train.live_published(400_000, 5, 100)
    train.process([record(encode(examples(1)[0]), 5)], 0)
    assert [train.live_due(now) for now in (499, 500)] == [False, True]


def test_parameters_too_large_are_sent_without_candidates(tmp_path, monkeypatch):
    """Above the bound only the encodings go, and nothing where they alone are above it; all go once they fit again."""

    def sent(offset: int) -> list[bool]:
        """Whether each record that the next example leads to holds a candidate."""
        output = driver.process([record(encode(examples(1)[0]), offset)], offset * 10_000)
        values = [out.value for out in output.to("parameters", 0)]
        withheld = LIVE_WITHHELD.labels("logistic")._value.get()
        found = [bool(live.unseal(value, [KEY]).candidates) for value in values]
        assert withheld == (found != [True])
        return found

    deployment = Deployment(spec(), Settings(data_dir=tmp_path, signing_key=KEY))
    driver = TrainDriver(trained(1), deployment, client=None, cache=None)  # neither is asked
    driver.core.published({"logistic": 1, "sgd": 2}, 1, 0)
    whole, alone = (len(live.seal(it, KEY)) for it in (driver.core.live(), driver.core.encodings()))
    assert sent(2) == [True]
    monkeypatch.setattr(live, "MAX_BYTES", (whole + alone) // 2)
    assert sent(3) == [False]
    monkeypatch.setattr(live, "MAX_BYTES", alone // 2)
    assert sent(4) == []
    monkeypatch.undo()
    assert sent(5) == [True]


def test_a_new_version_makes_live_parameters_due():
    """The record names versions, so that publishing one changes it."""
    train = trained(1)
    train.published({"logistic": 1, "sgd": 2}, 1, 0)
    train.live_published(100, train.fold.offset, 0)
    assert not train.live_due(1_000)
    train.published({"logistic": 3, "sgd": 4}, 1, 1_000)
    assert train.live_due(1_000)


@pytest.mark.parametrize("value", [b"null", b"3", b'"text"'])
def test_json_of_another_kind_is_no_record(value):
    """Valid JSON that is no object becomes a dead letter too."""
    train = Train()
    train.process([record(value, 0)], 0)
    assert train.totals["deadletter.undecodable"] == 1
