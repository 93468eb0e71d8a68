"""What whoever only holds connections, or sends by and by, can keep from others: nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.registry import acts, api, server
from tests.unit.registry.serving import serving

SLOW_FORM = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
SLOW_FORM += b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken="
SLOW_VERSION = b"POST /api/v1/models/flights/versions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
SLOW_VERSION += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b"
SLOW_SPEC = b"PUT /api/v1/specs/0123456789abcdef HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
SLOW_SPEC += b"Content-Type: application/json\r\n\r\n{"


@contextlib.contextmanager
def connected(client: httpx.Client, count: int = 1, local: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """So many connections from an address of this machine."""
    assert client.base_url.port is not None
    with contextlib.ExitStack() as held:
        yield [
            held.enter_context(
                socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10, source_address=(local, 0))
            )
            for _ in range(count)
        ]


def closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it: with a reset, if it had not read all."""
    try:
        return not connection.recv(1000)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_idle_connections_keep_nobody_out(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """Of one address the first 32 are kept, others are told so; whoever comes from elsewhere is answered."""
    with serving(tmp_path, registry_env) as client, connected(client, 300, "127.0.0.2") as held:
        refused = [each.recv(100) for each in held[32:]]
        assert httpx.get(client.base_url.join("/healthz")).status_code == 200
    assert len(refused) == 268
    assert all(each.startswith(b"HTTP/1.1 429 ") for each in refused)


def test_a_proxy_may_hold_more(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """All who come through a proxy that the settings name come from its address."""
    with (
        serving(tmp_path, registry_env | {"RIVERMILL_REGISTRY_PROXIES": "192.0.2.0/24, 127.0.0.2"}) as client,
        connected(client, 100, "127.0.0.2") as held,
    ):
        held[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert held[-1].recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_has_to_arrive_in_time(
    tmp_path: Path, registry_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    """Also of a second request, and though something arrives all the time."""
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.5)
    with serving(tmp_path, registry_env) as client:
        begun = time.monotonic()
        with connected(client) as (slow,):
            slow.sendall(before)
            slow.settimeout(0.1)
            while time.monotonic() - begun < 20:  # for ever, if what arrives gave it time
                if closed(slow):
                    break
                with contextlib.suppress(ConnectionError):
                    slow.sendall(b"G")
        assert 0.4 < time.monotonic() - begun < 20


@pytest.mark.parametrize("begun", [SLOW_FORM, SLOW_VERSION, SLOW_SPEC], ids=["form", "version", "spec"])
def test_a_body_has_to_arrive_in_time(
    tmp_path: Path, registry_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Whoever begins to send one and does not go on is told so, and that it is not for what was sent."""
    monkeypatch.setattr(acts, "_FORM_SECONDS", 0.3)
    monkeypatch.setattr(api, "_UPLOAD_SECONDS", 0.3)
    with serving(tmp_path, registry_env) as client, connected(client) as (slow,):
        slow.sendall(begun)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_long_is_not_cut_off(
    tmp_path: Path, registry_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is that of the request's head, not of its body or answer."""
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.2)
    monkeypatch.setattr(acts, "_FORM_SECONDS", 5.0)
    with serving(tmp_path, registry_env) as client, connected(client) as (slow,):
        slow.sendall(SLOW_FORM)
        time.sleep(0.6)
        slow.sendall(b"x" * 94)
        assert slow.recv(1000).startswith(b"HTTP/1.1 401 ")
