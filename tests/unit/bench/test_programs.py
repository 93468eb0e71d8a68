"""Every benchmark can be found and started by ``make bench``."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOT_BY_ITSELF = {"silent"}
"""Started by another program."""


def offered() -> set[str]:
    found = re.search(r"^BENCHES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return set(found[1].split())


def test_make_bench_and_the_results_name_every_program():
    """What can be run as a module of ``bench`` is a WHAT of the Makefile, and has its line in RESULTS.md."""
    runs = {path.stem for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    runs |= {path.parent.name for path in (ROOT / "bench").glob("*/__main__.py")}
    assert offered() == runs - NOT_BY_ITSELF
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(offered())


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "-m bench.peers --rounds 1"),
        (["ROUNDS=5"], "-m bench.peers --rounds 5"),
        (["WHAT=cores", "ARGS=--write"], "-m bench.cores --write"),
        (["WHAT=latency", "ROUNDS=3"], "-m bench.latency --rounds 3"),
        (["WHAT=nothing"], 'echo "error: WHAT is one of: peers stages'),
    ],
)
def test_make_bench_starts_what_is_asked_for(arguments, command):
    """With its rounds and arguments; what there is not is told."""
    told = subprocess.run(
        ["make", "--dry-run", "bench", *arguments],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert command in " ".join(told.splitlines()[-1].split())
