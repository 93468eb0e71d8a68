"""A real server of the S3 protocol for tests: S3Proxy over a folder, as a process of its own. It checks signatures."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.cli.broker_process import BrokerProcess
from services.cli.jars import jars
from services.cli.java import find_java
from services.cli.loopback import HOST, free_port

PINS = Path(__file__).parent / "s3proxy-jars.sha256"
"""Those of S3Proxy's dependencies that it needs for a folder: no cloud's client is among them, nor a log library."""
_IDENTITY, _SECRET = "the-registry", "the-registrys-secret"
_START_S, _STOP_S = 60.0, 5.0


@dataclass(frozen=True)
class S3:
    """A running server; each folder of ``root`` is a bucket."""

    url: str
    root: Path

    def env(self) -> dict[str, str]:
        """What the registry's environment has to say to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _IDENTITY, "AWS_SECRET_ACCESS_KEY": _SECRET,
        }  # fmt: skip

    def bucket(self, name: str) -> str:
        """A new, empty bucket."""
        (self.root / name).mkdir()
        return name


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """A server that lives as long as the block, with its buckets in ``folder``."""
    root, log, port = folder / "buckets", folder / "s3proxy.log", free_port()
    root.mkdir()
    (folder / "s3proxy.properties").write_text(
        f"s3proxy.endpoint=http://{HOST}:{port}\n"
        f"s3proxy.authorization=aws-v4\ns3proxy.identity={_IDENTITY}\ns3proxy.credential={_SECRET}\n"
        f"jclouds.provider=filesystem-nio2\njclouds.filesystem.basedir={root}\n"
    )
    options = ["-Xmx128m", f"-Dorg.slf4j.simpleLogger.logFile={log}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    main = ["org.gaul.s3proxy.Main", "--properties", str(folder / "s3proxy.properties")]
    command = [find_java(), *options, "-cp", os.pathsep.join(map(str, jars(pinned=PINS))), *main]
    process = BrokerProcess(command, os.environ, folder / "s3proxy.out")
    try:
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            assert process.running and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]  # noqa: PT018
            time.sleep(0.05)
        yield S3(f"http://{HOST}:{port}", root)
    finally:
        process.stop(_STOP_S)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
