"""What people do on the pages: sign in and out, and decide what an alias names, by the API's own code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import Cookie

from services.domain.registry_api import ALIAS, CHAMPION, MAX_REASON, MAX_VERSION, SetAlias
from services.registry import aliases, guards
from services.registry.api import ModelName, Registry
from services.registry.bodies import arriving_within
from services.registry.decisions import Act, propose
from services.registry.metrics import count_decision
from services.registry.pages import page
from services.registry.refusals import Invalid, Refusal

_Request = Request[Any, Any, Any]
_SEE_OTHER = 303
_MOST_LETTERS = 4096
_FORM_SECONDS = 10.0


class _Form(msgspec.Struct, forbid_unknown_fields=True):
    """What the form says; ``name`` is the person's, for the log."""

    act: Act
    alias: Annotated[str, msgspec.Meta(pattern=ALIAS)] = CHAMPION
    version: Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)] | None = None
    seen: int | None = None
    reason: str = ""
    name: str = ""


msgspec.json.Decoder(_Form)  # requests in threads must not be the first to use a type of msgspec's (decision 0020)


@get("/models/{name:str}/decide", sync_to_thread=True, include_in_schema=False)
def decide_page(request: _Request, registry: Registry, name: ModelName) -> Response[str]:
    """What would change, and a form that asks why."""
    return _ask(request, registry, name, _read(request.query_params))


@post("/models/{name:str}/decide", opt={"scope": "promote"}, include_in_schema=False)
async def decide(request: _Request, registry: Registry, name: ModelName) -> Response[Any]:
    """Decide; what is refused is told above the same form. Sending it twice changes nothing the second time."""
    form = _read(await _fields(request))
    try:
        who = guards.actor(request, form.name.strip() or None)
        _, verb = await asyncio.to_thread(
            aliases.set_alias, registry.database, name, form.alias, _wanted(form), actor=who, now=datetime.now(UTC)
        )
    except Refusal as refusal:
        return await asyncio.to_thread(_ask, request, registry, name, form, refusal)
    registry.publisher.wake()
    count_decision(name, verb)
    return Response(None, status_code=_SEE_OTHER, headers={"Location": f"/models/{name}#log"})


def _read(fields: Mapping[str, str]) -> _Form:
    try:
        return msgspec.convert(dict(fields), _Form, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid("the form is not as expected", f"{error}. Begin again on the model's page.") from error


def _wanted(form: _Form) -> SetAlias:
    reason = form.reason.strip()
    if not reason or form.version is None:
        raise Invalid("a reason is missing", "Say why, in one line: it is kept in the log for ever.")
    if len(reason) > MAX_REASON:
        raise Invalid("the reason is too long", f"Say it in {MAX_REASON} characters.")
    return SetAlias(form.version, reason, live=form.act in ("promote", "release"), seen=form.seen)


def _ask(
    request: _Request, registry: Registry, name: str, form: _Form, refusal: Refusal | None = None
) -> Response[str]:
    with registry.database.reading() as session:
        proposal = propose(session, name, form.act, form.alias, form.version)
    asked = {"act": form.act, "alias": form.alias, "version": proposal.target.version}
    return page(
        "decide.html", request, registry, refusal.status if refusal is not None else 200, name=name, form=form,
        proposal=proposal, refusal=refusal,
        here=f"/models/{name}/decide?{urlencode(asked)}",
    )  # fmt: skip


@get("/sign-in", sync_to_thread=True, opt={"scope": guards.SIGN_IN}, include_in_schema=False)
def sign_in_page(request: _Request, registry: Registry, to: str = "/") -> Response[str]:
    """A form that takes the token."""
    return page("sign-in.html", request, registry, to=_own(to), refusal=None)


@post("/sign-in", opt={"scope": guards.SIGN_IN}, include_in_schema=False)
async def sign_in(request: _Request, registry: Registry) -> Response[Any]:
    """Keep the token, if it is right, in a cookie that no script can read and no other site's page can make use of."""
    given = await _fields(request)
    token, to = given.get("token", "").strip(), _own(given.get("to", "/"))
    try:
        request.scope["state"]["who"] = await request.app.state.guard.identify(request, token)
    except Refusal as wrong:
        return await asyncio.to_thread(page, "sign-in.html", request, registry, wrong.status, to=to, refusal=wrong)
    cookie = Cookie(
        guards.COOKIE,
        value=quote(token, safe=""),
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return Response(None, status_code=_SEE_OTHER, headers={"Location": to}, cookies=[cookie])


@post("/sign-out", sync_to_thread=False, opt={"scope": guards.SIGN_IN}, include_in_schema=False)
def sign_out(request: _Request) -> Response[Any]:
    """Forget the token."""
    secure = request.url.scheme == "https"
    cookie = Cookie(guards.COOKIE, value="", path="/", max_age=0, httponly=True, samesite="strict", secure=secure)
    return Response(None, status_code=_SEE_OTHER, headers={"Location": "/"}, cookies=[cookie])


async def _fields(request: _Request) -> dict[str, str]:
    """The fields of a form, each once and of a bounded length."""
    async with arriving_within(_FORM_SECONDS):
        form = await request.form()
    fields = {key: value for key, value in form.items() if isinstance(value, str)}
    if any(len(value) > _MOST_LETTERS for value in fields.values()):
        raise Invalid("a field of the form is too long", f"At most {_MOST_LETTERS} letters are read.")
    return fields


def _own(to: str) -> str:
    """A path of this registry to go to after signing in; anything else is its first page."""
    is_path = to.startswith("/") and not to.startswith(("//", "/\\"))
    return to if is_path and to.isascii() and to.isprintable() else "/"


ACTS = Router("/", route_handlers=[decide_page, decide, sign_in_page, sign_in, sign_out])
