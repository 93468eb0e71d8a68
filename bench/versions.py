"""What was measured: the commit, and the versions of what takes part beside Python's packages."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from services.cli import jars
from services.cli.java import find_java

ROOT = Path(__file__).parents[1]
_NOT_RUN = (":!*.md", ":!*.svg")


def commit(root: Path = ROOT) -> str:
    """The checkout's commit, short, and whether files differ from it; prose and charts, these results among them, aside."""
    git = shutil.which("git")
    if git is None or not (told := _told([git, "-C", str(root), "rev-parse", "--short=7", "HEAD"])):
        return "an unknown commit (this is no git checkout)"
    changed = _told([git, "-C", str(root), "status", "--porcelain", "--", ".", *_NOT_RUN]).splitlines()
    files = f"{len(changed)} file{'s' if len(changed) != 1 else ''}"
    return f"{told}, in {f'a checkout with {files} changed' if changed else 'a clean checkout'}"


def broker() -> list[str]:
    """The embedded broker's Kafka, and the Java that runs it."""
    told = subprocess.run([find_java(), "-version"], capture_output=True, text=True, check=True).stderr  # noqa: S603 - no shell
    java = re.search(r'version "([^"]+)"', told)
    return [f"Kafka {jars.KAFKA.rpartition(':')[2]}", f"Java {java[1] if java else 'of an unknown version'}"]


def _told(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - git, no shell
    return done.stdout.strip()
