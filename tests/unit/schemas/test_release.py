"""Released contracts are frozen, and the gate finds whatever breaks one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from schemas import asyncapi, contracts, release

RELEASES = sorted(path for path in release.RELEASED.iterdir() if path.is_dir())
STREAMS = sorted({contracts.schema_name(topic) for topic in contracts.table() if topic.contract})


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release of today's contracts, to be altered as if an earlier version had promised something else."""
    monkeypatch.setattr(release, "RELEASED", tmp_path / "released")
    folder = tmp_path / "released" / "0.0.1"
    release.freeze(folder)
    return folder


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_no_release_is_broken():
    """Today's contracts keep every promise of every release."""
    assert RELEASES
    assert {path.name: release.broken(path) for path in RELEASES} == {path.name: [] for path in RELEASES}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("folder", RELEASES, ids=lambda path: path.name)
def test_todays_examples_are_valid_for_a_reader_of_a_release(folder, stream):
    """Every golden example of today is valid under the schema that was released."""
    path = folder / "json" / f"{stream}.json"
    if path.exists():  # a stream that has come since has no reader of that release
        validator = Draft202012Validator(json.loads(path.read_text()), format_checker=FormatChecker())
        for example in contracts.golden(stream).values():
            validator.validate(example)


@pytest.mark.usefixtures("frozen")
def test_what_has_just_been_frozen_is_not_broken(capsys):
    """The gate passes for a release of today's contracts, and says for which."""
    assert release.main(["--check"]) == 0
    assert capsys.readouterr().out == "no reader of 0.0.1 is broken\n"


ALTERED: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "a released field is gone": (
        "json/outcomes.json",
        lambda it: it["$defs"]["Outcome"]["properties"].update(cause={"type": "string"}),
        "outcomes.cause: is gone",
    ),
    "a field has come to be required": (
        "json/predictions.json",
        lambda it: it["$defs"]["Prediction"]["properties"].pop("spec") and it["$defs"]["Prediction"]["required"].pop(),
        "predictions.spec: is new and has no default",
    ),
    "a word that readers do not know": (
        "json/outcomes.json",
        lambda it: it["$defs"]["Outcome"]["properties"]["state"]["enum"].remove("orphan"),
        'outcomes.state: has the new word "orphan"',
    ),
    "a released example cannot be read": (
        "golden/alerts/opened.json",
        lambda it: it.update(severity="fatal"),
        "alerts: the example opened cannot be read any more",
    ),
    "a released example loses something": (
        "golden/models/first-challenger.json",
        lambda it: it.update(owner="ann"),
        "models: the example first-challenger is read, but does not say the same any more",
    ),
    "a topic is gone": (
        "asyncapi.json", lambda it: it["channels"].update(audit=it["channels"]["alerts"]), "audit: is gone"
    ),
    "another key": (
        "asyncapi.json",
        lambda it: it["components"]["messages"]["alerts"]["bindings"]["kafka"]["key"].update(description="alert id"),
        "alerts: key was alert id, is incident id",
    ),
    "another number of partitions": (
        "asyncapi.json",
        lambda it: it["channels"]["examples"]["bindings"]["kafka"].update(partitions=2),
        "examples: partitions was 2, is 1",
    ),
    "a header is gone": (
        "asyncapi.json",
        lambda it: it["components"]["messages"]["deadletter"]["headers"]["properties"].update(x={"type": "string"}),
        "deadletter headers.x: is gone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_a_broken_promise_fails_the_gate(frozen, capsys, name):
    """The command exits with 1 and says what a reader of which release would miss."""
    file, change, message = ALTERED[name]
    edited(frozen / file, change)
    assert release.main(["--check"]) == 1
    assert f"0.0.1: {message}" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["edited", "gone", "added", "without sums"])
def test_a_release_that_was_changed_is_noticed(frozen, capsys, change):
    """Though no reader is broken: the gate names the file of a release that is not what was frozen."""
    name, path = "json/alerts.json", frozen / "json" / "alerts.json"
    if change == "edited":
        path.write_text(path.read_text() + "\n")
    elif change == "gone":
        path.unlink()
    elif change == "added":
        name = "json/news.json"
        (frozen / name).write_text("{}")
    else:
        (frozen / release.SUMS).unlink()
    assert release.main(["--check"]) == 1
    assert f"0.0.1: {name}: is not what was frozen" in capsys.readouterr().out


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "an empty folder"])
def test_without_a_release_the_gate_does_not_pass(tmp_path, monkeypatch, capsys, there):
    """Released contracts that were lost are no contracts that are kept."""
    monkeypatch.setattr(release, "RELEASED", tmp_path / "released")
    if there:
        release.RELEASED.mkdir()
    assert release.main(["--check"]) == 1
    assert "no release lies under" in capsys.readouterr().out


def test_a_stream_that_has_come_since_is_no_breach(frozen):
    """A release that did not know a topic yet is kept."""
    edited(frozen / "asyncapi.json", lambda it: it["channels"].pop("alerts"))
    (frozen / "json" / "alerts.json").unlink()
    shutil.rmtree(frozen / "golden" / "alerts")
    assert release.broken(frozen) == []


def test_a_release_is_frozen_once(tmp_path, monkeypatch, capsys):
    """The command freezes documents, schemas and examples under the version, and never overwrites them."""
    monkeypatch.setattr(release, "RELEASED", tmp_path)
    assert release.main([]) == 0
    folder = tmp_path / asyncapi.version()
    assert {path.name for path in folder.iterdir()} == {"asyncapi.json", "json", "golden", release.SUMS}
    assert {path.stem for path in (folder / "json").iterdir()} == set(STREAMS)
    (folder / "asyncapi.json").write_text("{}")
    assert release.main([]) == 1
    assert (folder / "asyncapi.json").read_text() == "{}"
    assert "has been released" in capsys.readouterr().out


def test_stale_files_are_not_frozen(tmp_path, monkeypatch, capsys):
    """What does not follow from the Structs is never released."""
    monkeypatch.setattr(release, "RELEASED", tmp_path)
    monkeypatch.setattr(release.generate, "ROOT", tmp_path)
    assert release.main([]) == 1
    assert "stale" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
