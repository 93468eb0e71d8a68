"""The registry's client against the real registry, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import stamina

from services.domain.registry_api import SetAlias
from services.runtime.registry_client import (
    NoRegistry,
    RegistryClient,
    RegistryError,
    RegistryUnavailable,
    SnapshotRefused,
)
from tests.unit.registry.serving import digest, manifest, serving


@pytest.fixture
def url(tmp_path: Path, registry_env: dict[str, str]) -> Iterator[str]:
    with serving(tmp_path, registry_env) as client:
        yield str(client.base_url)


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """A server that gives these answers, one a connection, then hangs up; empty hangs up at once."""
    left = iter(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(left, b""))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def test_what_is_published_comes_back(url: str) -> None:
    """Versions, snapshots, aliases, log, specs and the past are read as they were written, under the actor's name."""

    async def journey() -> None:
        async with RegistryClient(url, actor="learner") as client:
            version = await client.publish_version("flights", manifest(b"one", offset=3), b"one")
            assert await client.publish_version("flights", manifest(b"two", offset=3), b"two") == version
            assert await client.snapshot("flights", 1, digest(b"one")) == b"one"
            assert await client.version("flights", 1) == version
            assert (await client.versions("flights", candidate="logistic")).items == [version]
            pinned = await client.set_alias("flights", "champion", SetAlias(1, live=False, reason="hold"))
            assert await client.aliases("flights") == {"champion": pinned}
            assert [entry.actor for entry in (await client.log("flights")).items] == ["learner", "learner"]
            assert (await client.served("flights", pinned.at)).aliases["champion"].live is False
            assert [model.champion for model in await client.models()] == [pinned]
            await client.put_spec(digest(b"{}")[:16], "{}")
            assert await client.spec(digest(b"{}")[:16]) == "{}"

    asyncio.run(journey())


def test_nothing_holds_a_snapshot_that_was_published(url: str) -> None:
    """Its memory is free at once: a lane's process looks for cycles so seldom that hundreds of snapshots would add up."""

    async def publish() -> None:
        async with RegistryClient(url) as client:
            blob = bytes(100_000)
            held = sys.getrefcount(blob)
            await client.publish_version("flights", manifest(blob), blob)
            assert sys.getrefcount(blob) == held

    gc.disable()
    try:
        asyncio.run(publish())
    finally:
        gc.enable()


def test_refusals_carry_the_registrys_words(url: str) -> None:
    """What the registry refuses is a RegistryError with its status and advice, at once."""

    async def ask() -> None:
        async with RegistryClient(url) as client:
            with pytest.raises(RegistryError, match="no model 'taxis'") as refused:
                await client.model("taxis")
            assert refused.value.status == 404
            with pytest.raises(RegistryError, match="does not have the sha256"):
                await client.publish_version("flights", manifest(b"one"), b"other")
            with pytest.raises(RegistryError):
                await client.model("../../etc")

    asyncio.run(ask())


@pytest.mark.parametrize(("status", "kind"), [("501 Unsupported method", NoRegistry), ("500 Oops", NoRegistry),
                                              ("503 Away", RegistryUnavailable), ("408 Late", RegistryUnavailable),
                                              ("301 Moved", RegistryError)])  # fmt: skip
def test_an_answer_that_is_no_registrys_names_the_setting(status: str, kind: type[RegistryError]) -> None:
    """Whoever answers otherwise than a registry is told apart from one that is away, and the setting is named."""

    async def ask() -> None:
        html = http(status, b"<html></html>")
        async with answering(html, html) as address, RegistryClient(address, attempts=2) as client:
            with pytest.raises(RegistryError, match="RIVERMILL_REGISTRY_URL") as refused:
                await client.put_spec("0" * 16, "{}")
            assert type(refused.value) is kind

    with stamina.set_testing(True, attempts=2):
        asyncio.run(ask())


def test_snapshot_is_bounded_and_checked(url: str) -> None:
    """A snapshot larger than accepted, or with another digest than asked for, is refused."""

    async def ask() -> None:
        async with RegistryClient(url) as client:
            await client.publish_version("flights", manifest(b"x" * 1000), b"x" * 1000)
            with pytest.raises(SnapshotRefused, match="larger than the 999 bytes"):
                await client.snapshot("flights", 1, digest(b"x" * 1000), 999)
            with pytest.raises(SnapshotRefused, match="was expected"):
                await client.snapshot("flights", 1, digest(b"y"))

    asyncio.run(ask())


def test_failures_are_retried_within_bounds() -> None:
    """A broken connection and a failing server are tried again until an answer comes or the attempts are used up."""

    async def ask() -> None:
        ends = (b"", http("503 Busy"), http("408 Late"), http("200 OK", b"[]"))
        async with answering(*ends) as url, RegistryClient(url) as client:
            assert await client.models() == []
        async with answering(*[http("500 No")] * 9) as url, RegistryClient(url, attempts=3) as client:
            with pytest.raises(RegistryUnavailable, match="500"):
                await client.models()

    with stamina.set_testing(True, attempts=4):
        asyncio.run(ask())


def test_absent_registry_and_strangers_are_told_apart() -> None:
    """Nobody listening, and somebody else listening, are two clear messages."""

    async def ask() -> None:
        async with RegistryClient("http://127.0.0.1:1", attempts=1) as client:
            with pytest.raises(RegistryUnavailable, match="RIVERMILL_REGISTRY_URL"):
                await client.models()
        async with answering(http("200 OK", b"<html>")) as url, RegistryClient(url) as client:
            with pytest.raises(RegistryError, match="not what a registry answers"):
                await client.models()
        async with answering(http("404 Not Found", b"<html>")) as url, RegistryClient(url) as client:
            with pytest.raises(
                RegistryError, match=r"404 Not Found\. That is no registry's answer: check RIVERMILL_REG"
            ):
                await client.models()

    with stamina.set_testing(True, attempts=1):
        asyncio.run(ask())
