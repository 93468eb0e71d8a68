"""The registry over HTTP, for learner, scoring and the command: bounded, checked, and retried where that is safe.

Every write of the API may be repeated without harm, so a request that met a broken connection, a full server (429)
or its failure (5xx), or did not arrive in time (408), is sent again, a few times, with growing pauses.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
import stamina

from services.domain.registry_api import (
    MAX_SNAPSHOT_BYTES,
    Alias,
    ChangePage,
    Model,
    ModelSummary,
    NewVersion,
    Problem,
    Served,
    SetAlias,
    Version,
    VersionPage,
)
from services.runtime.settings import Settings

_T = TypeVar("_T")
_ANSWER_BYTES = 16 * 1024 * 1024
_DENIED = (401, 403)
_NOT_NOW = (408, 429)
"""Too slow, too many: the same request may be granted later."""
_SERVER_ERROR = 500
_GATEWAY_ERRORS = (502, 503, 504)
_VERSION = msgspec.json.Decoder(Version)
_SUMMARIES = msgspec.json.Decoder(list[ModelSummary])
_MODEL = msgspec.json.Decoder(Model)
_VERSIONS = msgspec.json.Decoder(VersionPage)
_ALIAS = msgspec.json.Decoder(Alias)
_CHANGES = msgspec.json.Decoder(ChangePage)
_SERVED = msgspec.json.Decoder(Served)
_PROBLEM = msgspec.json.Decoder(Problem)
"""What proxies say of a registry that is away."""


class RegistryError(Exception):
    """The registry said no: ``status`` and its own words, what happened and what to do."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RegistryDenied(RegistryError):  # noqa: N818 - says what it is
    """The token is missing or wrong, or may not do this: the same request may be granted once that is put right."""


class RegistryUnavailable(RegistryError):  # noqa: N818 - says what it is
    """The registry cannot be reached, or failed, also after the last attempt."""


class NoRegistry(RegistryUnavailable):
    """Who fails there, also after the last attempt, speaks otherwise than a registry and the proxies before one."""


class SnapshotRefused(RegistryError):  # noqa: N818 - says what it is
    """The bytes that came are not the snapshot that was asked for: too many, or with another sha256."""


class RegistryClient:
    """One connection pool to one registry; use it as an async context manager or call :meth:`close`.

    ``actor`` is the name under which changes are logged.
    """

    def __init__(
        self, url: str, *, token: str | None = None, actor: str | None = None, attempts: int = 5, timeout: float = 30.0
    ) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._timeout = timeout
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if actor is not None:
            headers["X-Rivermill-Actor"] = actor
        self._http = httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=httpx.Timeout(timeout, connect=5.0)
        )

    async def __aenter__(self) -> RegistryClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def publish_version(self, name: str, manifest: NewVersion, snapshot: bytes) -> Version:
        """Publish a version; one of the same identity that is there already is returned instead."""
        files = {
            "manifest": ("manifest.json", msgspec.json.encode(manifest), "application/json"),
            "snapshot": ("snapshot", snapshot, "application/octet-stream"),
        }
        return await self._ask(_VERSION, "POST", f"{_model(name)}/versions", files=files)

    async def models(self) -> list[ModelSummary]:
        """Return all models."""
        return await self._ask(_SUMMARIES, "GET", "/models")

    async def model(self, name: str) -> Model:
        """Return one model and its aliases by name."""
        return await self._ask(_MODEL, "GET", _model(name))

    async def aliases(self, name: str) -> dict[str, Alias]:
        """Return what each alias of a model names now; RegistryError with status 404 when there is no such model."""
        return (await self.model(name)).aliases

    async def version(self, name: str, version: int) -> Version:
        """Return one version's manifest."""
        return await self._ask(_VERSION, "GET", f"{_model(name)}/versions/{version}")

    async def versions(
        self, name: str, *, candidate: str | None = None, before: int | None = None, limit: int = 50
    ) -> VersionPage:
        """Return one page of versions, newest first."""
        parameters = _given(candidate=candidate, before=before, limit=limit)
        return await self._ask(_VERSIONS, "GET", f"{_model(name)}/versions", params=parameters)

    async def snapshot(self, name: str, version: int, sha256: str, max_bytes: int = MAX_SNAPSHOT_BYTES) -> bytes:
        """Return a version's snapshot, at most ``max_bytes`` and with this sha256, or raise SnapshotRefused."""
        data, _ = await self._request("GET", f"{_model(name)}/versions/{version}/snapshot", max_bytes)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise SnapshotRefused(
                f"the snapshot of version {version} of {name} has sha256 {found} where {sha256} was expected: it was "
                f"altered on its way, or {self.url} is another registry than the one that published the version"
            )
        return data

    async def set_alias(self, name: str, alias: str, wanted: SetAlias) -> Alias:
        """Promote, roll back, pin or release (``PUT …/aliases/{alias}``)."""
        path = f"{_model(name)}/aliases/{quote(alias, safe='')}"
        headers = {"Content-Type": "application/json"}
        return await self._ask(_ALIAS, "PUT", path, content=msgspec.json.encode(wanted), headers=headers)

    async def log(self, name: str, *, before: int | None = None, limit: int = 50) -> ChangePage:
        """Return one page of the alias log, newest first."""
        return await self._ask(_CHANGES, "GET", f"{_model(name)}/log", params=_given(before=before, limit=limit))

    async def served(self, name: str, at: datetime | None = None) -> Served:
        """Return which version each alias named at a time (default: now)."""
        parameters = _given(at=at.isoformat() if at is not None else None)
        return await self._ask(_SERVED, "GET", f"{_model(name)}/served", params=parameters)

    async def put_spec(self, spec_hash: str, canonical: str) -> None:
        """Keep a pipeline's canonical form under its hash."""
        headers = {"Content-Type": "application/json"}
        path = f"/specs/{quote(spec_hash, safe='')}"
        await self._request("PUT", path, content=canonical.encode(), headers=headers)

    async def spec(self, spec_hash: str) -> str:
        """Return the canonical form of a spec."""
        data, _ = await self._request("GET", f"/specs/{quote(spec_hash, safe='')}")
        return data.decode()

    async def _ask(self, decoder: msgspec.json.Decoder[_T], method: str, path: str, **arguments: Any) -> _T:
        data, url = await self._request(method, path, **arguments)
        try:
            return decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RegistryError(
                f"the answer of {url} is not what a registry answers ({error}): check RIVERMILL_REGISTRY_URL, and that "
                "both sides have the same release"
            ) from error

    async def _request(
        self, method: str, path: str, max_bytes: int = _ANSWER_BYTES, **arguments: Any
    ) -> tuple[bytes, str]:
        """Send a request until it is answered, and return the body and the URL it came from."""
        try:
            async for attempt in stamina.retry_context(
                on=(RegistryUnavailable, httpx.TransportError), attempts=self._attempts, timeout=self._timeout
            ):
                with attempt:
                    return await self._once(method, path, max_bytes, **arguments)
        except httpx.TransportError as error:
            raise RegistryUnavailable(
                f"the registry at {self.url} cannot be reached ({type(error).__name__}: {error}): check that it runs and "
                "that RIVERMILL_REGISTRY_URL is right"
            ) from error
        raise AssertionError("stamina ends with an answer or an exception")

    async def _once(self, method: str, path: str, max_bytes: int, **arguments: Any) -> tuple[bytes, str]:
        response = await self._http.send(self._http.build_request(method, path, **arguments), stream=True)
        try:
            url = str(response.request.url)
            if response.is_success:
                return await _bounded(response, max_bytes, url), url
            raise _refusal(response, await _bounded(response, _ANSWER_BYTES, url))
        finally:
            await response.aclose()
            # httpx's response and its stream hold each other (encode/httpx#3733), and with them the snapshot that was sent,
            # until a search for cycles: beside lanes there is one after hundreds of requests
            response.stream = httpx.ByteStream(b"")


async def _bounded(response: httpx.Response, max_bytes: int, url: str) -> bytes:
    """Read a body of at most ``max_bytes``, however long it claims to be."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > max_bytes:
            raise SnapshotRefused(f"the answer of {url} is larger than the {max_bytes} bytes that are accepted")
        parts.append(part)
    return b"".join(parts)


def _refusal(response: httpx.Response, body: bytes) -> RegistryError:
    status, ours = response.status_code, True
    try:
        problem = _PROBLEM.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        told = "That is no registry's answer: check RIVERMILL_REGISTRY_URL, and what stands before the registry"
        problem, ours = Problem(status, response.reason_phrase or "no reason given", told), False
    words = ". ".join(filter(None, (problem.title, problem.detail)))
    message = f"{response.request.method} {response.request.url}: {status} {words}"
    if status in _NOT_NOW or status >= _SERVER_ERROR:
        known = ours or status in _NOT_NOW or status in _GATEWAY_ERRORS
        return RegistryUnavailable(message, status) if known else NoRegistry(message, status)
    return (RegistryDenied if status in _DENIED else RegistryError)(message, status)


def _model(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _given(**parameters: str | int | None) -> dict[str, str | int]:
    return {key: value for key, value in parameters.items() if value is not None}


@asynccontextmanager
async def connected(settings: Settings, actor: str) -> AsyncIterator[RegistryClient]:
    """A client as the settings say, closed at the end of the block."""
    client = RegistryClient(settings.registry_url, token=settings.registry_token, actor=actor)
    try:
        yield client
    finally:
        await client.close()
