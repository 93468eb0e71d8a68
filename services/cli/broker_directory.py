"""The embedded broker's data directory: formatting, who uses it, free ports, and whether the broker answers."""

from __future__ import annotations

import fcntl
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from services.cli.loopback import HOST, bound

CLUSTER_ID = "cml2ZXJtaWxsLWJyb2tlcg"
"""Base64 of "rivermill-broker": tells our data directories from those of other clusters."""
_META = f"version=1\ncluster.id={CLUSTER_ID}\nnode.id=1\n"
# Metadata v4 for no topic: key 3, version 4, correlation 1, no client id, topics [], no creation
_METADATA_REQUEST = struct.pack(">ihhihib", 15, 3, 4, 1, -1, 0, 0)
_METADATA_ANSWER = struct.Struct(">iiii")  # size, correlation, throttle time, number of brokers
_PROBE = b"rivermill-probe"
# CreateTopics v2 of one topic, 1 partition, 1 replica, no assignments, no settings, 1 s, to be validated only
_CREATE_BODY = struct.pack(f">ih{len(_PROBE)}sihiii?", 1, len(_PROBE), _PROBE, 1, 1, 0, 0, 1000, True)
_CREATE_REQUEST = struct.pack(">ihhih", 10 + len(_CREATE_BODY), 19, 2, 1, -1) + _CREATE_BODY
_CREATE_ANSWER = struct.Struct(f">iiiih{len(_PROBE)}sh")  # size, correlation, throttle time, topics, name, error
_INVALID_REPLICATION_FACTOR = 38


class BrokerError(RuntimeError):
    """The embedded broker cannot run: what is in the way and what to do, in one line."""


def format_directory(logs: Path) -> None:
    """Make ``logs`` a KRaft log directory of our cluster id, or check that it is one.

    This is what ``kafka-storage format`` leaves behind, without a second JVM: with no bootstrap record Kafka starts
    at its newest production metadata version (KIP-778).
    """
    meta = logs / "meta.properties"
    if meta.exists():
        if f"cluster.id={CLUSTER_ID}" not in meta.read_text(encoding="utf-8").splitlines():
            raise BrokerError(
                f"{logs} holds the data of another Kafka cluster: the embedded broker leaves it alone; "
                "set RIVERMILL_DATA_DIR to another directory"
            )
        return
    if logs.exists() and any(logs.iterdir()):
        raise BrokerError(f"{logs} is neither empty nor a broker's: set RIVERMILL_DATA_DIR to another directory")
    logs.mkdir(parents=True, exist_ok=True)
    meta.write_text(_META, encoding="utf-8")


def in_use(logs: Path) -> bool:
    """Whether a living broker holds the log directory: Kafka keeps its ``.lock`` file locked."""
    lock = logs / ".lock"
    if not lock.exists():
        return False
    with lock.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def ports(first: int, names: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
    """A free port on the loopback address for each listener name.

    The first listener gets ``first`` unless that is 0, or BrokerError if it is taken; the others the one they had
    ``before`` if it is free: after a crash Kafka sends transaction markers to where it was last registered, and
    running clients come back to where they left.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for name in names:
            if first and not chosen:
                chosen[name] = _bound(held, first)
                continue
            try:
                chosen[name] = _bound(held, before.get(name, 0))
            except BrokerError:
                chosen[name] = _bound(held, 0)
    return chosen


def _bound(held: ExitStack, port: int) -> int:
    try:
        listener = held.enter_context(bound(port))
    except OSError as error:
        raise BrokerError(
            f"port {port} on {HOST} cannot be had ({error.strerror}): stop what listens there, or choose another port "
            "(0 takes a free one)"
        ) from error
    return int(listener.getsockname()[1])


def escaped(value: str) -> str:
    """A value as a Java properties file has it: ASCII, with the rest and backslashes escaped."""
    units = value.encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 0x80 and code != 0x5C else f"\\u{code:04x}" for code in codes)  # noqa: PLR2004 - ASCII


def ports_before(properties: Path) -> dict[str, int]:
    """The ports by listener name in the ``server.properties`` of an earlier start; none if there was no such start."""
    if not properties.exists():
        return {}
    listeners = re.search(r"^listeners=(.*)$", properties.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: int(port) for name, port in re.findall(r"(\w+)://[^:,]+:(\d+)", listeners[1] if listeners else "")}


def ran_before(logs: Path) -> bool:
    """Whether a broker has run on the log directory, and may be registered in it as the leader of its partitions."""
    return (logs / "__cluster_metadata-0").exists()


def answers(address: str, timeout: float = 2.0) -> bool:
    """Whether a broker at ``address`` answers a metadata request and names at least one living broker."""
    answer = _asked(address, _METADATA_REQUEST, _METADATA_ANSWER, timeout)
    return answer is not None and answer[3] > 0


def fenced(address: str, timeout: float = 2.0) -> bool:
    """Whether the controller at ``address`` is active and knows no broker that could hold a partition."""
    answer = _asked(address, _CREATE_REQUEST, _CREATE_ANSWER, timeout)
    return answer is not None and answer[6] == _INVALID_REPLICATION_FACTOR


def _asked(address: str, request: bytes, answer: struct.Struct, timeout: float) -> tuple[Any, ...] | None:
    """The beginning of the answer to a request, or None if there was none."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout) as connection:
            connection.sendall(request)
            received = b""
            while len(received) < answer.size:
                chunk = connection.recv(4096)
                if not chunk:
                    return None
                received += chunk
    except OSError:
        return None
    return answer.unpack_from(received)
