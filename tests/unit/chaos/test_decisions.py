"""An operator's decision is an act only where the registry took it; where it did not though nothing struck it, that is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos import script
from chaos.adversary import Act
from chaos.faults import Done, Faults
from chaos.owners import Owners
from chaos.strikes import STRIKES
from services.cli.loopback import free_port
from services.cli.supervise import Supervisor
from services.runtime.launch import Deployment
from services.runtime.settings import from_environment
from tests.unit.registry.serving import post, serving

SNAPSHOT = b"a snapshot"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A registry that takes decisions, and holds a version of each of two candidates."""
    with serving(tmp_path_factory.mktemp("open")) as client:
        for candidate in ("first", "second"):
            assert post(client, script.PIPELINE, SNAPSHOT, candidate=candidate).is_success
        yield client


def faults(folder: Path, registry: str) -> Faults:
    """Faults at nothing but a registry."""
    pipeline = folder / "pipeline.toml"
    pipeline.write_text(script.FILE, encoding="utf-8")
    supervisor = Supervisor(pipeline, folder)
    settings = from_environment({
        "RIVERMILL_BROKER": "127.0.0.1:1", "RIVERMILL_REGISTRY_URL": registry, "RIVERMILL_SIGNING_KEY": "k" * 32,
    })  # fmt: skip
    supervisor.deployment = Deployment(supervisor.spec, settings)
    feeder: Any = None  # a decision does not feed
    return Faults(supervisor, Owners(dict), feeder, STRIKES, lambda _: None)


def decided(found: Faults, act: Act) -> str:
    """Carry it out; why it was left out."""
    asyncio.run(found.carry_out([act]))
    return found.done[-1].left_out


def test_a_decision_that_the_registry_takes_is_an_act(tmp_path: Path, registry: httpx.Client) -> None:
    """The champion is the candidate's newest version, pinned or live as decided."""
    found = faults(tmp_path, str(registry.base_url))
    for fault, candidate, live in (("promote", "second", True), ("pin", "first", False)):
        assert decided(found, Act(0.0, fault, candidate, 0.0, 1)) == ""
        champion = registry.get(f"/api/v1/models/{script.PIPELINE}").raise_for_status().json()["aliases"]["champion"]
        assert (champion["candidate"], champion["live"]) == (candidate, live)
    assert found.refused == []


def test_a_candidate_without_a_version_cannot_be_decided_for(
    tmp_path: Path, registry: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is waited for, told, and no violation: the registry was not asked to do anything."""
    monkeypatch.setattr("chaos.strikes._VERSION_S", 0.3)
    found = faults(tmp_path, str(registry.base_url))
    assert decided(found, Act(0.0, "promote", "tree", 0.0, 1)) == "its candidate has no version"
    assert found.refused == []


def test_a_decision_that_a_healthy_registry_refuses_is_a_violation(tmp_path: Path) -> None:
    """An error answer is no act; it is told with the registry's own words."""
    with serving(tmp_path / "closed", {"RIVERMILL_REGISTRY_ANONYMOUS": "none"}) as closed:
        found = faults(tmp_path, str(closed.base_url))
        assert decided(found, Act(0.0, "pin", "first", 0.0, 1)) == "the registry did not take it"
    assert len(found.refused) == 1
    assert found.refused[0].startswith("pin first: 401 ")


@pytest.mark.parametrize(
    ("target", "ended_ms", "refused"), [("registry", 0, 0), ("registry", 1, 1), ("cleaning", 0, 1)]
)
def test_no_answer_is_a_violation_unless_something_struck_the_registry(
    tmp_path: Path, target: str, ended_ms: int, refused: int
) -> None:
    """A registry that is away because of another act, still at work, owes no answer; one of before, or elsewhere, is no excuse."""
    found = faults(tmp_path, f"http://127.0.0.1:{free_port()}")
    found.done.append(Done(Act(0.0, "kill", target, 0.0, 1), 0, ended_ms))
    assert decided(found, Act(0.0, "promote", "first", 0.0, 1)) == "the registry did not take it"
    assert len(found.refused) == refused
