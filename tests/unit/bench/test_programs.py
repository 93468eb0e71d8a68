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


def recipe(*arguments: str) -> str:
    """What ``make bench`` would run."""
    return subprocess.run(
        ["make", "--dry-run", "bench", *arguments],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "-m bench.peers --rounds 1"),
        (["ROUNDS=5"], "-m bench.peers --rounds 5"),
        (["WHAT=cores", "ARGS=--write"], "-m bench.cores --write"),
        (["WHAT=latency", "ROUNDS=3"], "-m bench.latency --rounds 3"),
    ],
)
def test_make_bench_starts_what_is_asked_for(arguments, command):
    """With its rounds and arguments."""
    told = recipe(*arguments)
    assert " ".join(told.splitlines()[-1].split()).endswith(command)
    assert "error: WHAT" not in told
    assert "error: ROUNDS" not in told


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["WHAT=nothing"], "error: WHAT is one of: all peers stages"),
        (["WHAT=nothing", "ROUNDS=2"], "error: WHAT is one of: all peers stages"),
        (["WHAT=cores", "ROUNDS=2"], "error: ROUNDS is for: peers scale latency overhead"),
        (["WHAT=all", "ROUNDS=2"], "error: WHAT=all takes no ROUNDS and no ARGS"),
        (["WHAT=all", "ARGS=--write"], "error: WHAT=all takes no ROUNDS and no ARGS"),
    ],
)
def test_make_bench_refuses_what_it_cannot_start(arguments, error):
    """Before anything is measured."""
    lines = recipe(*arguments).splitlines()
    first = next(line for line in lines if "python -m bench." in line or line.startswith('echo "error: '))
    assert first.startswith(f'echo "{error}')
    assert first.endswith("exit 1")


def test_rounds_are_for_the_programs_that_have_them():
    """Those whose ``--rounds`` is an option."""
    texts = {name: (ROOT / "bench" / f"{name}.py", ROOT / "bench" / name / "__main__.py") for name in offered()}
    having = {
        name
        for name, paths in texts.items()
        if any(path.exists() and '"--rounds"' in path.read_text() for path in paths)
    }
    found = re.search(r"^IN_ROUNDS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    assert set(found[1].split()) == having


@pytest.mark.parametrize(
    ("ends", "status", "last"),
    [("0", 0, "breakdown --write"), ("1", 1, "breakdown --write"), ("130", 130, "cores --write")],
)
def test_make_bench_all_writes_every_part_and_goes_on_after_one_that_failed(tmp_path, ends, status, last):
    """Each with what makes it write; only an interrupt ends all, and a failure is the exit status in the end."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/ran\ncase $2 in bench.cores) exit {ends};; esac\n', encoding="utf-8"
    )
    python.chmod(0o755)
    told = recipe("WHAT=all", f"BIN={tmp_path}")
    done = subprocess.run(["sh", "-c", told[told.index("failed=;") :]], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("error: not all is as it should be: cores" in done.stderr) is (status == 1)
    ran = (tmp_path / "ran").read_text(encoding="utf-8").splitlines()
    assert ran[0] == "-m bench.peers --rounds 5"
    assert ran[-1] == f"-m bench.{last}"
    if status != 130:
        assert {line.split()[1].removeprefix("bench.") for line in ran} == offered()
        assert "-m bench.latency --rounds 3" in ran
        assert "-m bench.slope --minutes 20" in ran
