"""Whether a peer can run here, and if not, why."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.peers import kafka_streams
from bench.peers.catalogue import Peer
from bench.peers.session import PEERS_PYTHON


def why_not(peer: Peer, folder: Path) -> str:
    """The reason, or nothing; Kafka Streams is compiled for this."""
    if peer.module == "kafka_streams":
        return kafka_streams.prepare(folder)
    if peer.needs and not _finds(peer.needs):
        return f"{peer.needs} is not in .venv-bench: it has no wheel for this Python (see requirements/bench.txt)"
    return ""


def _finds(package: str) -> bool:
    done = subprocess.run(  # noqa: S603 - a Python of ours, no shell
        [str(PEERS_PYTHON), "-c", f"import {package}"], capture_output=True, check=False
    )
    return done.returncode == 0
