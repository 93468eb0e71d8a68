"""Who may write, and under which name it is logged."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

from litestar.connection import ASGIConnection, Request
from litestar.handlers import BaseRouteHandler

from services.registry.refusals import Forbidden, Invalid, Unauthorized

ACTOR_HEADER = "X-Rivermill-Actor"
_ACTOR = re.compile(r"[\w.@+:/ -]{1,64}")
_BEARER = "bearer "


def writes_allowed(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar guard of every write: the bearer token, if one is set, and no page of another site's."""
    if connection.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden(
            "a page of another site tried to change this registry", "Use the rivermill command or an HTTP client."
        )
    token: str | None = connection.app.state.token
    if token is None:
        return
    given = connection.headers.get("Authorization", "")
    if not given.lower().startswith(_BEARER) or not _equal(given[len(_BEARER) :].strip(), token):
        raise Unauthorized(
            "the bearer token is missing or wrong",
            "Set RIVERMILL_REGISTRY_TOKEN to the registry's token, or send the header "
            "'Authorization: Bearer <token>' with it.",
        )


def _equal(given: str, token: str) -> bool:
    """Compare in constant time, whatever the two lengths are."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(token.encode()).digest())


def actor(request: Request[Any, Any, Any]) -> str:
    """The name to log: the header's, or ``token`` for who holds the token, or ``anonymous``."""
    given = request.headers.get(ACTOR_HEADER)
    if given is None:
        return "anonymous" if request.app.state.token is None else "token"
    if not _ACTOR.fullmatch(given.strip()):
        raise Invalid(
            f"the header {ACTOR_HEADER} is not a name",
            "Send 1 to 64 letters, digits, spaces or any of . _ @ + : / -",
        )
    return given.strip()
