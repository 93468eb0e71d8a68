"""The Kafka of docker-compose.yml as a process here: the official image's own program, which lies in Kafka's jar, turns
the file's environment into a configuration and formats the volume, and Kafka runs on these.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from services.cli.broker_directory import answers
from services.cli.broker_process import BrokerProcess
from services.cli.jars import jars
from services.cli.java import find_java

_START_S, _STOP_S = 60.0, 10.0


@contextlib.contextmanager
def official_kafka(whole: Mapping[str, Any], folder: Path, address: str) -> Iterator[str]:
    """A running broker; what it is for the other services, `kafka:9092`, is here."""
    configured = [folder / name for name in ("default", "mounted", "final")]
    for directory in (*configured, folder / "data"):
        directory.mkdir(parents=True)
    places = {
        "SERVICES://:": f"SERVICES://{address}:",
        "HOST://:": f"HOST://{address}:",
        "//kafka:9092": f"//{address}:9092",
        "//127.0.0.1:9092": f"//{address}:19092",
        "localhost": address,
        "/var/lib/kafka/data": str(folder / "data"),
    }
    there = re.compile("|".join(map(re.escape, places)))
    given = whole["services"]["kafka"]["environment"]
    env = {name: there.sub(lambda found: places[found[0]], str(value)) for name, value in given.items()}
    java = [find_java(), *env["KAFKA_HEAP_OPTS"].split(), "-cp", os.pathsep.join(map(str, jars()))]
    options = [f"--{path.name}-configs-dir={path}" for path in configured]
    subprocess.run(
        [*java, "kafka.docker.KafkaDockerWrapper", "setup", *options], env=env, capture_output=True, check=True
    )
    out = folder / "kafka.log"
    process = BrokerProcess([*java, "kafka.Kafka", str(configured[-1] / "server.properties")], env, out)
    try:
        deadline = time.monotonic() + _START_S
        while not answers(f"{address}:9092"):
            assert process.running and time.monotonic() < deadline, out.read_text(errors="replace")[-2000:]  # noqa: PT018
            time.sleep(0.1)
        yield f"{address}:9092"
    finally:
        process.stop(_STOP_S)
