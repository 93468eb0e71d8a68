"""Kafka's own command-line tools as the pages call them."""

from __future__ import annotations

import os
from pathlib import Path

from services.cli.jars import jars
from services.cli.java import find_java

_MAIN = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}
"""Kafka's scripts, and what of its jars they run."""
_JARS = Path(__file__).parent / "kafka-tools-jars.sha256"


def lay_out(folder: Path) -> dict[str, str]:
    """Put the scripts into a folder; an environment in which they are on PATH."""
    class_path = os.pathsep.join(map(str, [*jars(pinned=_JARS), *jars()]))
    for name, main in _MAIN.items():
        script = folder / name
        options = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Xmx128m"
        script.write_text(f'#!/bin/sh\nexec "{find_java()}" {options} -cp "{class_path}" {main} "$@"\n')
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
