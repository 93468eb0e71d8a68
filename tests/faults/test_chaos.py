"""`make chaos`, short and with a fixed seed: every record is accounted for after faults at random moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chaos.run import Result

FAULTS = ("kill", "lose", "stall", "terminate", "blobs", "poison", "promote")


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaos", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path) -> None:
    """After kill -9, stalls, lost processes and a blob store that cannot be written, every check finds every record."""
    told = tmp_path / "found.json"
    short = ("--duration", "16", "--gap", "2", "--events", "150", "--faults", ",".join(FAULTS))
    done = chaos("--seed", "21", *short, "--json", str(told))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        f"python -m chaos --seed 21 --duration 16.0 --gap 2.0 --events 150.0 --faults {','.join(FAULTS)}\n"
        in done.stdout
    )
    result = msgspec.json.decode(told.read_bytes(), type=Result)
    assert not any(result.violations.values())
    assert result.acts.keys() == set(FAULTS)
    kinds = ("duplicates", "dead letters", "outcomes labelled", "outcomes expired", "outcomes corrected", "examples")
    assert all(result.counts[kind] for kind in kinds), result.counts


@pytest.mark.parametrize(
    "wrong", [["--faults", "gremlins"], ["--kills", "3", "--faults", "stall"], ["--duration", "0"]]
)
def test_a_wrong_wish_is_one_clear_line(wrong: list[str]) -> None:
    """What cannot be done is told before anything is started, with exit code 2."""
    done = chaos(*wrong)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
