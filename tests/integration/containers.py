"""Services of docker-compose.yml as processes here: exactly their command and environment, with what a container has of
its own (an address, mounted files, host names) put in its place on this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.composed import ROOT, image_environment, mounts


class Container:
    """One service of the file. ``places`` says what a text of the file is here; the longest that fits counts.

    It runs with the environment of its image and the file and no other, in an empty directory, as if nothing else of
    this machine were there.
    """

    def __init__(self, name: str, whole: Mapping[str, Any], folder: Path, places: Mapping[str, str]) -> None:
        self.name = name
        self.service: dict[str, Any] = whole["services"][name]
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = folder / name / "working-directory"
        self.directory.mkdir(parents=True)
        self._places = {
            **places,
            **{
                f"/run/secrets/{secret}": whole["secrets"][secret]["file"] for secret in self.service.get("secrets", ())
            },
            **{
                target: _here(source, folder / name / "volumes" / target[1:])
                for target, source in mounts(self.service).items()
            },
        }
        image = image_environment(self.service["build"]["target"])
        given = {**image, **self.service.get("environment", {}), "HOME": "/var/lib/rivermill"}
        self.env = {key: self.here(str(value)) for key, value in given.items()}
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def here(self, text: str) -> str:
        """A text of the file with what it means here."""
        there = "|".join(re.escape(place) for place in sorted(self._places, key=len, reverse=True))
        return re.sub(there, lambda found: self._places[found[0]], text)

    def start(self, *arguments: str) -> None:
        """Start it, as `up` does; with arguments, as `run` does with these in place of the command."""
        command = [*self.service.get("entrypoint", ()), *(arguments or self.service["command"])]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.here(part) for part in command],
                env=self.env, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """What `exec` does: a command beside the service, with its environment."""
        return subprocess.run(
            [self.here(part) for part in arguments],
            env=self.env, cwd=self.directory, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def healthy(self) -> bool:
        """Whether the file's health check says so."""
        how, *command = self.service["healthcheck"]["test"]
        assert how == "CMD"
        return self.run(command).returncode == 0

    def wait_healthy(self, within: float = 60.0) -> None:
        """Ask until it is healthy; what it said last is in the failure."""
        deadline = time.monotonic() + within
        while not self.healthy():
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended: {self.words()}"
            assert time.monotonic() < deadline, f"{self.name} is not healthy: {self.words()}"
            time.sleep(1)

    def terminate(self) -> None:
        """SIGTERM, as the Dockerfile says."""
        assert self.process is not None
        self.process.terminate()

    def wait(self, within: float) -> int:
        """The exit code, TimeoutExpired if there is none in time."""
        assert self.process is not None
        return self.process.wait(within)

    def kill(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def words(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _here(source: str | None, volume: Path) -> str:
    """A file of the checkout as it is; a folder that stands for a volume."""
    if source is not None and source.startswith((".", "/")):
        return str(ROOT / source)
    volume.mkdir(parents=True)
    return str(volume)
