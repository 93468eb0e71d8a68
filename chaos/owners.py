"""Which process runs which lane: asked of the services' metrics, twice a second."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import NamedTuple

import httpx

from chaos.recovery import Lane

_EVERY_S, _FRESH_S = 0.5, 2.0
_LANE = re.compile(r'^rivermill_lag_records\{[^}]*lane="(\d+)",stage="(\w+)"', re.MULTILINE)


class Owned(NamedTuple):
    """The lanes of a process and those of its service's other processes; ``contested`` are those that two claim.

    ``told``: the process said so just now. Otherwise its own are not known, and none are given.
    """

    lanes: frozenset[Lane]
    others: frozenset[Lane]
    contested: frozenset[Lane]
    told: bool


class Owners:
    """Who told last that it runs which lanes; ``endpoints`` gives the processes and their base URLs of now."""

    def __init__(self, endpoints: Callable[[], Mapping[str, str]]) -> None:
        self._endpoints = endpoints
        self._told: dict[str, tuple[float, frozenset[Lane]]] = {}

    def of(self, name: str) -> Owned:
        """The lanes of a process, as far as they are known."""
        service, now = name.partition("-")[0], time.monotonic()
        own, others, told = frozenset[Lane](), frozenset[Lane](), False
        for other in self._endpoints():
            at, lanes = self._told.get(other, (-inf, frozenset()))
            if other == name and now - at < _FRESH_S:
                own, told = lanes, True
            elif other != name and other.partition("-")[0] == service:
                others |= lanes
        return Owned(own - others, others - own, own & others, told)

    async def run(self) -> None:
        """Ask until cancelled; a process that does not answer keeps what it told before."""
        async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
            while True:
                await asyncio.gather(*(self._ask(client, *endpoint) for endpoint in self._endpoints().items()))
                await asyncio.sleep(_EVERY_S)

    async def _ask(self, client: httpx.AsyncClient, name: str, url: str) -> None:
        try:
            page = (await client.get(f"{url}/metrics")).text
        except httpx.HTTPError:
            return
        self._told[name] = time.monotonic(), frozenset((stage, int(lane)) for lane, stage in _LANE.findall(page))
