"""What tests need that pip does not bring: Debian's packages, where this process may install them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")


def install(package: str) -> None:
    """As root on a Debian; elsewhere nothing. Whoever needs the package sees whether it is there, and says so if not.

    One process of the tests at a time: apt does not wait for another.
    """
    if os.geteuid() == 0 and shutil.which("apt-get"):
        with Path(tempfile.gettempdir(), "rivermill-tests-apt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for command in (("apt-get", "update"), (*INSTALL, package)):
                subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=240)
