"""Who may do what, how often, and under which name it is logged.

A request is somebody's by its token: ``Authorization: Bearer``, or for browsers ``Basic`` with the token as password.
Without one it is anonymous, and may do what the settings let anonymous requests do. What a handler needs is its ``opt``:
``scope`` (``read`` unless it says otherwise), or ``unlimited`` for what monitoring asks, which is open.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection, Request
from litestar.handlers import BaseRouteHandler

from services.registry import tokens
from services.registry.database import Database
from services.registry.limits import Limiter, client_of
from services.registry.refusals import Forbidden, Invalid, TooMany, Unauthorized

ACTOR_HEADER = "X-Rivermill-Actor"
ANONYMOUS = "anonymous"
_ACTOR = re.compile(r"[\w.@+:/ -]{1,64}")
_ACTOR_LENGTH = 64
_REQUESTS_A_SECOND, _REQUESTS_AT_ONCE = 300, 600
_FAILURES_A_SECOND, _FAILURES_AT_ONCE = 1 / 6, 10

Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Who:
    """Whose request it is; ``named`` when a token of the database says so."""

    name: str
    scopes: tuple[str, ...]
    named: bool = False


class Guard:
    """Litestar guard of every handler: ``secret`` is the token of the settings, which may do everything.

    An address that was wrong too often has to wait, since somebody may have chosen that secret badly. Tokens of the
    database cannot be guessed: theirs are heard meanwhile, or one wrong setting would stop all behind one address.

    ``anonymous`` are the scopes of requests without a token. ``loopback`` says that only this machine can reach us: then
    an anonymous request must call us by a name of this machine, or a website could, by a name of its own that it lets
    point here.
    """

    def __init__(self, database: Database, secret: str | None, anonymous: tuple[str, ...], *, loopback: bool) -> None:
        self._database = database
        self._digest = tokens.sha256(secret) if secret is not None else None
        self._anonymous = Who(ANONYMOUS, anonymous)
        self._loopback = loopback
        self._requests = Limiter(_REQUESTS_A_SECOND, _REQUESTS_AT_ONCE)
        self._failures = Limiter(_FAILURES_A_SECOND, _FAILURES_AT_ONCE)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let the request pass, or raise the Refusal that answers it."""
        if handler.opt.get("unlimited"):
            return
        client = client_of(connection.client.host if connection.client else "")
        self._within(self._requests, client, "too many requests")
        self._requests.take(client)
        scope = handler.opt.get("scope", "read")
        who = await self._who(connection, client)
        connection.scope["state"]["who"] = who
        if scope != "read":
            _require_same_origin(connection)
        if scope not in who.scopes:
            self._refuse(who, scope, connection)

    @staticmethod
    def _within(limiter: Limiter, client: str, what: str) -> None:
        if wait := limiter.wait_s(client):
            raise TooMany(f"{what} from this address", f"Wait {wait} s and go on more slowly.", wait)

    async def _who(self, connection: Connection, client: str) -> Who:
        given = connection.headers.get("Authorization")
        if given is None:
            if self._loopback and not _calls_this_machine(connection):
                raise _unauthorized("without a token, call this registry by 127.0.0.1 or localhost", connection)
            return self._anonymous
        secret = _secret(given) or ""
        found = await asyncio.to_thread(tokens.find, self._database, secret)
        if found is not None:
            return Who(found.name, ("read", *found.scopes), named=True)
        self._within(self._failures, client, "too many wrong tokens")
        if self._digest is not None and hmac.compare_digest(tokens.sha256(secret), self._digest):
            return Who("token", tokens.SCOPES)
        self._failures.take(client)
        raise _unauthorized("the token is wrong, or was revoked", connection)

    def _refuse(self, who: Who, scope: str, connection: Connection) -> None:
        if who is self._anonymous:
            raise _unauthorized("this needs a token", connection)
        raise Forbidden(
            f"the token {who.name} may not {scope}", f"Make one with `rivermill tokens create --scope {scope}`."
        )


def _secret(given: str) -> str | None:
    """The token in an Authorization header, if there is one in it."""
    scheme, _, rest = given.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _calls_this_machine(connection: Connection) -> bool:
    try:
        host = urlsplit(f"//{connection.headers.get('Host', '')}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_same_origin(connection: Connection) -> None:
    """A browser sends a Basic token, and what it may do without one, for whatever page asks: pages of ours alone may."""
    site = connection.headers.get("Sec-Fetch-Site")
    by_browser = connection.headers.get("Authorization", "").lower().startswith("basic ")
    if site in ("none", "same-origin") or (site is None and not by_browser):
        return
    raise Forbidden(
        "a page of another site tried to change this registry"
        if site is not None
        else "the browser does not say whose page asks",
        "Use the rivermill command, an HTTP client with a bearer token, or this registry's pages over HTTPS or on "
        "this machine.",
    )


def _unauthorized(what: str, connection: Connection) -> Unauthorized:
    """401 with the challenge that fits: a browser that goes to a page asks its user."""
    page = "text/html" in connection.headers.get("Accept", "")
    return Unauthorized(
        what,
        "Set RIVERMILL_REGISTRY_TOKEN to one that `rivermill tokens create` made, or send the header "
        "'Authorization: Bearer <token>' with it. A browser takes it as password, with any user name.",
        {"WWW-Authenticate": 'Basic realm="Rivermill registry", charset="UTF-8"' if page else "Bearer"},
    )


def actor(request: Request[Any, Any, Any]) -> str:
    """The name to log: the header's, after that of a token of the database; without the header, whose request it is."""
    who: Who = request.scope["state"]["who"]
    given = request.headers.get(ACTOR_HEADER)
    if given is None:
        return who.name
    name = given.strip()
    if not _ACTOR.fullmatch(name):
        raise Invalid(
            f"the header {ACTOR_HEADER} is not a name",
            "Send 1 to 64 letters, digits, spaces or any of . _ @ + : / -",
        )
    return f"{who.name}: {name}"[:_ACTOR_LENGTH] if who.named and name != who.name else name
