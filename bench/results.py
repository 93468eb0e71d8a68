"""``bench/RESULTS.md``: each program writes its own part between markers, and leaves the rest as it is."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import versions

RESULTS = Path(__file__).parent / "RESULTS.md"
_COMMIT = versions.commit()
"""As the program starts: a checkout may move on while it measures."""
_PRINT_VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""


def put(section: str, lines: Iterable[str], path: Path = RESULTS) -> None:
    """Replace what stands between ``<!-- section: begin -->`` and ``<!-- section: end -->``, or append it."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if found and not closed:
        raise ValueError(f"{path} has {begin} without {end}: put it back, or take both out")
    part = "\n".join([begin, "", *lines, "", end])
    whole = before + part + after if found else f"{text.rstrip()}\n\n{part}\n".lstrip()
    path.write_text(whole, encoding="utf-8")


def circumstances(
    program: str, packages: Sequence[str], others: Iterable[str] = (), *, python: str = sys.executable
) -> list[str]:
    """When, at which commit, on what, with which versions, and by which command: this program of the benchmarks.

    ``packages`` are those that ``python`` finds; ``others`` took part too, each with its version.
    """
    command = f"python -m bench.{program} {shlex.join(sys.argv[1:])}".strip()
    found = subprocess.run(  # noqa: S603 - a Python of ours, no shell
        [python, "-c", _PRINT_VERSIONS, *packages], capture_output=True, text=True, check=True
    )
    return [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `{command}`, at commit {_COMMIT}.",
        f"Machine: {machine()}.",
        f"Versions: {', '.join([f'Python {platform.python_version()}', *found.stdout.splitlines(), *others])}.",
    ]


def machine() -> str:
    """Processor, cores that this process may use, memory, operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
