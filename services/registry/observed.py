"""The outermost layer: security headers on every answer, every request counted and timed by route, and an audit.

What would change something, and what was refused to somebody, is one line in the log: who, what, from where, and how it
ended. Of an address that is refused again and again, one line a second is enough; the metrics count them all.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.registry.limits import Limiter, client_of
from services.registry.metrics import REQUEST_SECONDS, REQUESTS

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})

_LOOKS = ("GET", "HEAD", "OPTIONS")
_REFUSED = (401, 403, 429)
_PATH_LENGTH = 200
_LINES_A_SECOND, _LINES_AT_ONCE = 1.0, 20
_log = structlog.get_logger()
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Scripts, styles and data come from here alone; nothing inline, nothing evaluated, no other host."""
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Observed:
    """ASGI application around another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._refusals = Limiter(_LINES_A_SECOND, _LINES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and look at its answer; who has got that finds it in log and metrics."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status, noted = 500, False

        async def answer(message: Message) -> None:
            nonlocal status, noted
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                noted = True
                self._note(scope, status, time.perf_counter() - begun)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            if not noted:
                self._note(scope, status, time.perf_counter() - begun)

    def _note(self, scope: HTTPScope, status: int, seconds: float) -> None:
        route = scope.get("path_template") or "unmatched"
        method = str(scope["method"]) if scope["method"] in _METHODS else "other"
        REQUESTS.labels(method, route, str(status)).inc()
        REQUEST_SECONDS.labels(route).observe(seconds)
        if method not in _LOOKS or status in _REFUSED:
            self._audit(scope, method, status)

    def _audit(self, scope: Scope, method: str, status: int) -> None:
        """The query is left out: nothing of ours has a secret in it, but somebody may put one there."""
        address = (scope.get("client") or ("",))[0]
        if status in _REFUSED:
            client = client_of(address)
            if self._refusals.wait_s(client):
                return
            self._refusals.take(client)
        state: dict[str, Any] = scope.get("state") or {}
        _log.info(
            "audit", who=getattr(state.get("who"), "name", None), method=method, client=address, status=status,
            path=str(scope["path"])[:_PATH_LENGTH],
        )  # fmt: skip
