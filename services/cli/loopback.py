"""Ports of the loopback address to listen on."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

HOST = "127.0.0.1"
CHOSEN_FROM = range(20_000, 32_768)
"""Below the ports that outgoing connections are given: from 32768 on Linux, from 49152 elsewhere (RFC 6335).

One that a connection may be given can be taken while what listened there is started again.
"""
_TRIES = 100
_chosen: set[int] = set()
"""By this process so far. Each is chosen once: it is listened on a while later, and would be free until then."""


def bound(port: int = 0) -> socket.socket:
    """A socket bound to ``port``, or OSError if that is taken; 0 stands for a free one that no connection is given."""
    if port:
        return _bound(port, reuse=True)
    for _ in range(_TRIES):
        choice = secrets.choice(CHOSEN_FROM)
        if choice not in _chosen:
            with suppress(OSError):
                listener = _bound(choice)
                _chosen.add(choice)
                return listener
    return _bound(0)


def free_port(wanted: int = 0) -> int:
    """``wanted`` if it is free, else any that is."""
    try:
        listener = bound(wanted)
    except OSError:
        listener = bound()
    with listener:
        return int(listener.getsockname()[1])


def _bound(port: int, *, reuse: bool = False) -> socket.socket:
    listener = socket.socket()
    if reuse:  # connections of the one who listened there before may linger
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener
