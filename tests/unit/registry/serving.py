"""A registry as tests use it: the real application on a real server in a thread, with blobs in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import obstore
import uvicorn
from obstore.store import ObjectStore

from services.domain.registry_api import NewVersion
from services.registry.app import application
from services.registry.server import server_config
from services.registry.settings import registry_settings

SPEC = "0123456789abcdef"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without certificates, which httpx would read again for every client."""
LOG = "01912345-0000-7000-8000-000000000000"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(snapshot: bytes, *, candidate: str = "logistic", offset: int = 0, **changes: Any) -> NewVersion:
    values = {
        "candidate": candidate, "spec": SPEC, "log_id": LOG, "examples_offset": offset, "sha256": digest(snapshot),
        "signature": "ab" * 32, "metrics": {"auc": 0.75, "log_loss": 0.46},
    }  # fmt: skip
    return NewVersion(**{**values, **changes})


def post(
    client: httpx.Client, name: str, snapshot: bytes, headers: dict[str, str] | None = None, **values: Any
) -> httpx.Response:
    body = msgspec.json.encode(manifest(snapshot, **values))
    files = {"manifest": ("m.json", body), "snapshot": ("s", snapshot)}
    return client.post(f"/api/v1/models/{name}/versions", files=files, headers=headers)


def promote(client: httpx.Client, name: str, alias: str, version: int, **body: Any) -> httpx.Response:
    return client.put(
        f"/api/v1/models/{name}/aliases/{alias}", json={"version": version, "reason": "decided by a test", **body}
    )


def paths(store: ObjectStore) -> list[str]:
    """What lies in a blob store, but for the file that shows that it can be written to."""
    return sorted(found["path"] for page in obstore.list(store) for found in page if found["path"] != ".rivermill")


def database_url(folder: Path, env: Mapping[str, str]) -> str:
    """Where a registry in this folder has its database."""
    return registry_settings({"RIVERMILL_DATA_DIR": str(folder), **env}).database


class Server(uvicorn.Server):
    """Ends as soon as it is told to: uvicorn looks for that ten times a second, and then waits a tenth in any case."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - another thread says it
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - whoever opened them does
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.005)
        await self.lifespan.shutdown()


@contextlib.contextmanager
def serving(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[httpx.Client]:
    """A client of a registry that lives as long as the block; the failure of its publisher fails the test."""
    given = {"RIVERMILL_DATA_DIR": str(folder), **(env or {})}
    failures: list[str] = []
    settings = registry_settings(given)
    app = application(settings, lambda: failures.append("the publisher failed"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(server_config(app, settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=30, verify=_NO_TLS) as client:
                assert client.get("/readyz").status_code == 200
                yield client
        finally:
            server.should_exit = True
            thread.join()
    assert not failures
