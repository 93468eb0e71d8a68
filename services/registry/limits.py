"""How often a client may ask, and may be wrong about who it is: token buckets by address, in bounded memory."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CLIENTS = 4096
_SITE = 64
"""Bits of an IPv6 address that one client has no choice of."""


class Limiter:
    """``burst`` at once, then ``per_second``; of more than 4,096 clients the one heard of longest ago is forgotten."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> int:
        """Whole seconds until the client may go on; 0 when it may now."""
        left = self._now_left(client)
        return 0 if left >= 1 else max(1, math.ceil((1 - left) / self._per_second))

    def take(self, client: str) -> None:
        """Count one."""
        self._left[client] = (max(0.0, self._now_left(client) - 1), self._clock())
        self._left.move_to_end(client)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)

    def _now_left(self, client: str) -> float:
        left, at = self._left.get(client, (float(self._burst), 0.0))
        return min(float(self._burst), left + (self._clock() - at) * self._per_second)


def client_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, an IPv6 network of 64 bits, or whatever else the server calls it."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((known, _SITE), strict=False))
    return str(known)
