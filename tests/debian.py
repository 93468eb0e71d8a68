"""Programs of Debian packages, for tests: the one on PATH, or else its package unpacked into the cache; or installed by root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.cli.jars import cache_dir

INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")
_LISTS = Path("/var/lib/apt/lists")


def install(package: str) -> None:
    """As root on a Debian; elsewhere nothing. Whoever needs the package sees whether it is there, and says so if not.

    One process of the tests at a time: apt does not wait for another.
    """
    if os.geteuid() == 0 and shutil.which("apt-get"):
        with Path(tempfile.gettempdir(), "rivermill-tests-apt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for command in (("apt-get", "update"), (*INSTALL, package)):
                subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=240)


def program(name: str, packages: Sequence[str], folder: Path) -> Path:
    """The program as a file of ``folder``; the test fails, and says what to install, where it cannot be had.

    The first of the ``packages`` holds it, the others the libraries that it needs and a plain system does not have.
    """
    wrapper = folder / name
    if found := shutil.which(name):
        wrapper.symlink_to(found)
        return wrapper
    root = cache_dir() / "debian" / name
    if not (root / "usr" / "bin" / name).exists():
        _unpack(packages, root)
    libraries = ":".join(str(path) for path in sorted((root / "usr" / "lib").glob("*-linux-gnu*")))
    wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{root}/usr/bin/{name}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _unpack(packages: Sequence[str], root: Path) -> None:
    """Download and unpack beside the place, then move there: a broken download is never taken for the program."""
    fresh = root.with_suffix(".part")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "packages").mkdir(parents=True)
    try:
        if os.geteuid() == 0 and not any(_LISTS.glob("*Packages*")):  # a container starts without lists
            subprocess.run(["apt-get", "update"], capture_output=True, text=True, check=True)
        subprocess.run(
            ["apt-get", "download", *packages], cwd=fresh / "packages", capture_output=True, text=True, check=True
        )
        for package in sorted((fresh / "packages").iterdir()):
            subprocess.run(["dpkg", "-x", package, fresh], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or error
        pytest.fail(f"this test needs `{packages[0]}`: install the package (apt-get download: {why})", pytrace=False)
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
