"""Who may do what, how often, and under which name it is logged.

A request is somebody's by its token: ``Authorization: Bearer``, or for browsers the cookie that signing in leaves.
Without one it is anonymous, and may do what the settings let anonymous requests do. What a handler needs is its ``opt``:
``scope`` (``read`` unless it says otherwise, ``sign-in`` for finding out who it is), or ``unlimited`` for what monitoring
asks and for what pages are made of, which is open.
"""

from __future__ import annotations

import asyncio
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
COOKIE = "rivermill_token"
"""Where signing in keeps the token."""
_FORGET = f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
SIGN_IN = "sign-in"
_ACTOR = re.compile(r"[\w.@+:/ -]{1,64}")
_ACTOR_LENGTH = 64
_REQUESTS_A_SECOND, _REQUESTS_AT_ONCE = 300, 600
_LOOKS = ("GET", "HEAD", "OPTIONS")
_FAILURES_A_SECOND, _FAILURES_AT_ONCE = 1 / 6, 10
_SAME_GUESS = 1 / 60, 1

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
    database cannot be guessed: theirs are heard meanwhile, or one wrong setting would stop all behind one address. The
    same wrong token again is no guess, and counts once a minute: a page that stays open has one that was revoked.

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
        self._guesses = Limiter(*_SAME_GUESS)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let the request pass, or raise the Refusal that answers it."""
        if handler.opt.get("unlimited"):
            return
        client = client_of(connection.client.host if connection.client else "")
        self._within(self._requests, client, "too many requests")
        self._requests.take(client)
        scope = handler.opt.get("scope", "read")
        who = self._anonymous if scope == SIGN_IN else await self._who(connection, client)
        connection.scope["state"]["who"] = who
        if scope != "read" and connection.scope["method"] not in _LOOKS:  # type: ignore[typeddict-item]
            _require_same_origin(connection)
        if scope not in (*who.scopes, SIGN_IN):
            self._refuse(who, scope)

    @staticmethod
    def _within(limiter: Limiter, client: str, what: str) -> None:
        if wait := limiter.wait_s(client):
            raise TooMany(f"{what} from this address", f"Wait {wait} s and go on more slowly.", wait)

    async def _who(self, connection: Connection, client: str) -> Who:
        header = connection.headers.get("Authorization")
        if header is not None:
            scheme, _, rest = header.partition(" ")
            return await self._identify(rest.strip() if scheme.lower() == "bearer" else "", client)
        if kept := connection.cookies.get(COOKIE):
            return await self._identify_browser(kept, client)
        if self._loopback and not _calls_this_machine(connection):
            raise _unauthorized("without a token, call this registry by 127.0.0.1 or localhost")
        return self._anonymous

    async def _identify_browser(self, kept: str, client: str) -> Who:
        """As by its token, and a browser forgets one that is worth nothing."""
        try:
            return await self._identify(kept, client)
        except Unauthorized as wrong:
            wrong.headers["Set-Cookie"] = _FORGET
            raise

    async def identify(self, connection: Connection, secret: str) -> Who:
        """Whose token this is; Unauthorized when it is nobody's, TooMany after too many such guesses."""
        return await self._identify(secret, client_of(connection.client.host if connection.client else ""))

    async def _identify(self, secret: str, client: str) -> Who:
        found = await asyncio.to_thread(tokens.find, self._database, secret)
        if found is not None:
            return Who(found.name, ("read", *found.scopes), named=True)
        self._within(self._failures, client, "too many wrong tokens")
        digest = tokens.sha256(secret)
        if self._digest is not None and hmac.compare_digest(digest, self._digest):
            return Who("token", tokens.SCOPES)
        if not self._guesses.wait_s(guess := f"{client} {digest}"):
            self._guesses.take(guess)
            self._failures.take(client)
        raise _unauthorized("the token is wrong, or was revoked")

    def _refuse(self, who: Who, scope: str) -> None:
        if who is self._anonymous:
            raise _unauthorized("this needs a token")
        raise Forbidden(
            f"the token {who.name} may not {scope}", f"Make one with `rivermill tokens create --scope {scope}`."
        )


def _calls_this_machine(connection: Connection) -> bool:
    try:
        host = urlsplit(f"//{connection.headers.get('Host', '')}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_same_origin(connection: Connection) -> None:
    """A browser sends a cookie, and what it may do without one, for whatever page asks: pages of ours alone may.

    Fetch metadata tells which page it was (https://www.w3.org/TR/fetch-metadata/); over plain HTTP browsers send
    ``Origin`` alone.
    """
    site, origin = connection.headers.get("Sec-Fetch-Site"), connection.headers.get("Origin")
    if site is not None:
        is_ours = site in ("none", "same-origin")
    else:
        is_ours = origin is None or origin.partition("://")[2] == connection.headers.get("Host")
    if not is_ours:
        raise Forbidden(
            "a page of another site tried to change this registry",
            "Use the rivermill command, an HTTP client with a bearer token, or this registry's own pages.",
        )


def _unauthorized(what: str) -> Unauthorized:
    return Unauthorized(
        what,
        "Set RIVERMILL_REGISTRY_TOKEN to one that `rivermill tokens create` made, or send the header "
        "'Authorization: Bearer <token>' with it. In a browser, sign in.",
        {"WWW-Authenticate": "Bearer"},
    )


def who_asks(request: Request[Any, Any, Any]) -> Who:
    """Whose request it is, as the guard found out."""
    who: Who = request.scope["state"]["who"]
    return who


def actor(request: Request[Any, Any, Any], named: str | None = None) -> str:
    """The name to log: ``named`` or the header's, after that of a token of the database; else whose request it is."""
    who = who_asks(request)
    given = request.headers.get(ACTOR_HEADER) if named is None else named
    if given is None:
        return who.name
    name = given.strip()
    if not _ACTOR.fullmatch(name):
        what = f"the header {ACTOR_HEADER}" if named is None else f"{named[:80]!r}"
        raise Invalid(
            f"{what} is not a name",
            "Send 1 to 64 letters, digits, spaces or any of . _ @ + : / -",
        )
    return f"{who.name}: {name}"[:_ACTOR_LENGTH] if who.named and name != who.name else name
