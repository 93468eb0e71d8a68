"""Every error answer is RFC 9457 problem details that say what happened and what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from obstore.exceptions import BaseError
from sqlalchemy.exc import OperationalError

from services.domain.registry_api import Problem
from services.registry.guards import COOKIE
from services.registry.refusals import Refusal
from services.registry.rendering import html

_Request = Request[Any, Any, Any]
_log = structlog.get_logger()
_ADVICE = {
    HTTPStatus.NOT_FOUND: "The API lies under /api/v1; GET /schema describes it.",
    HTTPStatus.METHOD_NOT_ALLOWED: "GET /schema tells which methods a path has.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "A snapshot may have 64 MiB, a spec 1 MiB, any other body 64 KiB.",
}


def _answer(
    request: _Request, status: int, title: str, detail: str = "", headers: dict[str, str] | None = None
) -> Response[Any]:
    """Problem details; a page with the same words for a browser that asks for a page."""
    if "text/html" in request.headers.get("Accept", "") and not request.url.path.startswith("/api/"):
        signed_in = COOKIE in request.cookies and status != HTTPStatus.UNAUTHORIZED
        shown = html("error.html", request, status, title=title, detail=detail, code=status, signed_in=signed_in)
        shown.headers.update(headers or {})
        return shown
    return Response(
        Problem(status=status, title=title, detail=detail),
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def _refused(request: _Request, refusal: Refusal) -> Response[Any]:
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("refused", title=refusal.title, detail=refusal.detail)
    return _answer(request, refusal.status, refusal.title, refusal.detail, refusal.headers)


def _http(request: _Request, error: HTTPException) -> Response[Any]:
    status = HTTPStatus(error.status_code)
    wrong = error.extra if isinstance(error.extra, list) else []
    told = "; ".join(_told(item) for item in wrong if isinstance(item, dict))
    return _answer(request, status, error.detail or status.phrase, told or _ADVICE.get(status, ""), error.headers)


def _told(wrong: dict[str, str]) -> str:
    """What is wrong with one part of a request. Litestar calls the body ``data``, and says no more of one that is missing."""
    key, message = wrong.get("key", "body"), wrong.get("message", "")
    return f"{'body' if key == 'data' else key}: {'nothing was sent' if message == repr(key) else message}"


def _database(request: _Request, error: OperationalError) -> Response[Any]:
    _log.error("the database does not answer", error=str(error.orig))
    return _answer(request, 503, "the registry's database does not answer", "Try again soon; /readyz tells how it is.")


def _blobs(request: _Request, error: BaseError) -> Response[Any]:
    _log.error("the blob store does not answer", error=str(error))
    return _answer(
        request, 503, "the registry's blob store does not answer", "Try again soon; its log has the details."
    )


def _unexpected(request: _Request, error: Exception) -> Response[Any]:
    _log.error("unexpected error", exc_info=error)
    return _answer(request, 500, "the registry failed on this request", "Its log has the details; please report them.")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    Refusal: _refused,
    HTTPException: _http,
    OperationalError: _database,
    BaseError: _blobs,
    Exception: _unexpected,
}
