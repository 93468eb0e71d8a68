"""The server under the application: whose connections it keeps, how many, and for how long without a request."""

from __future__ import annotations

import asyncio
import ipaddress
from functools import lru_cache

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.registry.limits import Limiter, client_of
from services.registry.observed import Observed
from services.registry.settings import RegistrySettings

_GRACE_SECONDS = 5
_CONNECTIONS = 256
_CONNECTIONS_OF_ONE = 32
_HEAD_SECONDS = 10.0
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n"
_log = structlog.get_logger()
_told = Limiter(1 / 60, 1)


class Connection(H11Protocol):
    """One connection: closed where its address has too many, or where it does not say what it wants.

    Without this whoever opens 256 and says nothing keeps everybody else out. Behind a proxy all come from one address:
    that one may have them all.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless the address has enough."""
        super().connection_made(transport)
        address = self.client[0] if self.client is not None else ""
        if not _is_proxy(address, str(self.config.forwarded_allow_ips)) and self._too_many(client_of(address)):
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came: the time runs unless a request is being answered."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_longer()
        elif self._late is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def _too_many(self, client: str) -> bool:
        found = sum(
            isinstance(each, Connection) and each.client is not None and client_of(each.client[0]) == client
            for each in self.connections
        )
        if found <= _CONNECTIONS_OF_ONE:
            return False
        if not _told.wait_s(client):
            _told.take(client)
            _log.warning("too many connections from one address", client=client, most=_CONNECTIONS_OF_ONE)
        return True

    def _wait(self) -> None:
        self._late = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


@lru_cache(maxsize=1)
def _networks(proxies: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(each.strip()) for each in proxies.split(",") if each)


def _is_proxy(address: str, proxies: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(known in network for network in _networks(proxies))


def server_config(app: Observed, settings: RegistrySettings) -> uvicorn.Config:
    """How the application is served. Only proxies that the settings name may say for whom they ask, and over what."""
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, http=Connection, ws="none", log_config=None, access_log=False,
        server_header=False, proxy_headers=bool(settings.proxies), forwarded_allow_ips=settings.proxies,
        limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=_GRACE_SECONDS,
    )  # fmt: skip
