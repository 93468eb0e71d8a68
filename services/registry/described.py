"""What the API's description says beside the handlers' types: refusals, and bodies that are no JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from services.domain.registry_api import Problem

_EVERY = (400, 401, 403, 429, 503)
"""Statuses that any request may be answered with: not understood, without the right to, too often, no database."""


def refusals(*more: int) -> dict[int, ResponseSpec]:
    """The refusals of a handler: those of every one, and ``more``."""
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description=HTTPStatus(status).phrase,
            media_type="application/problem+json",
        )
        for status in sorted({*_EVERY, *more})
    }


def also(status: int, kind: type, description: str) -> dict[int, ResponseSpec]:
    """Another good answer than the first."""
    return {status: ResponseSpec(kind, generate_examples=False, description=description)}


def _body(media_type: str, schema: Schema) -> RequestBody:
    return RequestBody(content={media_type: OpenAPIMediaType(schema=schema)}, required=True)


@dataclass
class Publishing(Operation):
    """The multipart body of a version."""

    request_body: RequestBody | None = field(
        default_factory=lambda: _body(
            "multipart/form-data",
            Schema(
                type=OpenAPIType.OBJECT,
                required=["manifest", "snapshot"],
                properties={
                    "manifest": Schema(type=OpenAPIType.STRING, content_media_type="application/json"),
                    "snapshot": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY),
                },
            ),
        )
    )


@dataclass
class Keeping(Operation):
    """The body of a spec: its canonical form."""

    request_body: RequestBody | None = field(
        default_factory=lambda: _body("application/json", Schema(type=OpenAPIType.OBJECT))
    )
