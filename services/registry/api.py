"""The HTTP API under ``/api/v1``. What it means is in :mod:`services.domain.registry_api`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post, put
from litestar.datastructures import State, UploadFile
from litestar.params import Parameter

from services.domain.registry_api import (
    ALIAS,
    MAX_PAGE,
    MAX_SNAPSHOT_BYTES,
    MAX_SPEC_BYTES,
    MAX_VERSION,
    NAME,
    SPEC_HASH,
    Alias,
    ChangePage,
    Model,
    ModelSummary,
    NewVersion,
    Served,
    SetAlias,
    Version,
    VersionPage,
)  # fmt: skip
from services.registry import aliases, publishing, reading, specs
from services.registry.blobs import Blobs
from services.registry.bodies import arriving_within
from services.registry.database import Database
from services.registry.described import Keeping, Publishing, also, refusals
from services.registry.follower import Follower
from services.registry.guards import actor
from services.registry.manifests import Manifests
from services.registry.metrics import REPEATS, SNAPSHOT_BYTES, VERSIONS, count_decision
from services.registry.publisher import Publisher
from services.registry.refusals import Invalid

_SMALL_BODY = 64 * 1024
_MANIFEST_BYTES = 64 * 1024
_UPLOAD_SECONDS = 120
_UPLOADS_AT_ONCE = 4
_SHOWN = 80
_WRITE_UTC = "Write UTC as 2026-01-31T12:00:00Z, or another offset with %2B for its plus sign."
_manifest = msgspec.json.Decoder(NewVersion)

ModelName = Annotated[str, Parameter(pattern=NAME, description="Name of the model: the pipeline's name.")]
Number = Annotated[int, Parameter(ge=1, le=MAX_VERSION, description="Number of the version.")]
_OLDER = "Only what is older: next_before of a page."
BeforeVersion = Annotated[int | None, Parameter(ge=1, le=MAX_VERSION, description=_OLDER)]
BeforeEntry = Annotated[int | None, Parameter(ge=1, le=2**63 - 1, description=_OLDER)]
Limit = Annotated[int, Parameter(ge=1, le=MAX_PAGE, description="Greatest number of items.")]


@dataclass(frozen=True, slots=True)
class Registry:
    """What the handlers work on."""

    database: Database
    blobs: Blobs
    publisher: Publisher
    uploads: asyncio.Semaphore
    follower: Follower
    manifests: Manifests


def registry_of(state: State) -> Registry:
    """Litestar dependency."""
    registry: Registry = state.registry
    return registry


def uploads() -> asyncio.Semaphore:
    """So many snapshots are held in memory at once; further ones wait."""
    return asyncio.Semaphore(_UPLOADS_AT_ONCE)


@post(
    "/models/{name:str}/versions",
    opt={"scope": "publish"},
    operation_class=Publishing,
    responses=also(200, Version, "The first version of this identity") | refusals(408, 409, 410, 413, 422),
    request_max_body_size=MAX_SNAPSHOT_BYTES + _MANIFEST_BYTES + 4096,
    summary="Publish a version",
    description=(
        "multipart/form-data with the parts `manifest` (JSON: candidate, spec, log_id, examples_offset, sha256, "
        "signature, metrics, keep) and `snapshot` (bytes, at most 64 MiB). 201 for a new version; 200 and the first "
        "one when a version of this candidate, spec, log_id and examples_offset was there already."
    ),
)
async def post_version(request: Request[Any, Any, State], registry: Registry, name: ModelName) -> Response[Version]:
    """Publish a version: manifest and snapshot as multipart."""
    who = actor(request)
    async with registry.uploads:
        new, snapshot = await _form(request)
        version, is_new = await asyncio.to_thread(
            publishing.publish, registry.database, registry.blobs, name, new, snapshot, actor=who, now=datetime.now(UTC)
        )
    registry.publisher.wake()
    (VERSIONS if is_new else REPEATS).inc()
    if is_new:
        SNAPSHOT_BYTES.inc(version.size)
    location = f"/api/v1/models/{name}/versions/{version.version}"
    return Response(version, status_code=201 if is_new else 200, headers={"Location": location})


async def _form(request: Request[Any, Any, State]) -> tuple[NewVersion, bytes]:
    """Read the two parts within bounds of size and time."""
    async with arriving_within(_UPLOAD_SECONDS):
        form = await request.form()
    manifest, snapshot = await _part(form.get("manifest")), await _part(form.get("snapshot"))
    if manifest is None or snapshot is None:
        raise Invalid(
            "the body lacks the part manifest or the part snapshot",
            "Send multipart/form-data with both: curl -F manifest=@manifest.json -F snapshot=@snapshot.bin …",
        )
    if len(snapshot) > MAX_SNAPSHOT_BYTES or len(manifest) > _MANIFEST_BYTES:
        raise Invalid("a part is too large", f"A snapshot may have {MAX_SNAPSHOT_BYTES} bytes, a manifest 65536.")
    try:
        return _manifest.decode(manifest), snapshot
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("the manifest is not as expected", str(error)) from error


async def _part(part: UploadFile | str | None) -> bytes | None:
    if isinstance(part, UploadFile):
        return await part.read()
    return part.encode() if isinstance(part, str) else None


@get("/models", sync_to_thread=True, responses=refusals(), summary="List all models")
def get_models(registry: Registry) -> list[ModelSummary]:
    """All models with their champions."""
    with registry.database.reading() as session:
        return reading.models(session)


@get("/models/{name:str}", sync_to_thread=True, responses=refusals(404), summary="One model and its aliases")
def get_model(registry: Registry, name: ModelName) -> Model:
    """One model, its candidates and aliases."""
    with registry.database.reading() as session:
        return reading.model(session, name)


@get("/models/{name:str}/versions", sync_to_thread=True, responses=refusals(404), summary="Versions, newest first")
def get_versions(
    registry: Registry,
    name: ModelName,
    candidate: Annotated[str | None, Parameter(pattern=NAME)] = None,
    before: BeforeVersion = None,
    limit: Limit = 50,
) -> VersionPage:
    """One page of versions."""
    with registry.database.reading() as session:
        return reading.versions(session, name, candidate, before, limit)


@get("/models/{name:str}/versions/{version:int}", sync_to_thread=True, responses=refusals(404), summary="One version")
def get_version(registry: Registry, name: ModelName, version: Number) -> Version:
    """One version's manifest."""
    with registry.database.reading() as session:
        return reading.version_of(reading.version(session, name, version))


@get(
    "/models/{name:str}/versions/{version:int}/snapshot",
    sync_to_thread=True,
    responses=refusals(404, 410),
    media_type="application/octet-stream",
    summary="A version's snapshot",
)
def get_snapshot(registry: Registry, name: ModelName, version: Number) -> Response[bytes]:
    """The snapshot's bytes, checked against their digest; 410 when they were thinned."""
    data, sha256 = reading.snapshot(registry.database, registry.blobs, name, version)
    headers = {
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": f'attachment; filename="{name}-{version}.snapshot"',
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


@put(
    "/models/{name:str}/aliases/{alias:str}",
    opt={"scope": "promote"},
    responses=refusals(404, 409, 413, 422),
    request_max_body_size=_SMALL_BODY,
    summary="Promote, roll back, pin or release",
)
async def put_alias(
    request: Request[Any, Any, State],
    registry: Registry,
    name: ModelName,
    alias: Annotated[str, Parameter(pattern=ALIAS, description="champion or challenger-<candidate>")],
    data: SetAlias,
) -> Alias:
    """Let an alias name a version, and log who did it and why."""
    named, verb = await asyncio.to_thread(
        aliases.set_alias, registry.database, name, alias, data, actor=actor(request), now=datetime.now(UTC)
    )
    registry.publisher.wake()
    count_decision(name, verb)
    return named


@get(
    "/models/{name:str}/served",
    sync_to_thread=True,
    responses=refusals(404, 422),
    summary="What each alias named at a time",
)
def get_served(
    registry: Registry,
    name: ModelName,
    at: Annotated[
        str | None, Parameter(description="RFC 3339 with an offset; default now.", schema_extra={"format": "date-time"})
    ] = None,
) -> Served:
    """Which version each alias named at a time, live following included."""
    moment = _utc(at) if at is not None else datetime.now(UTC)
    with registry.database.reading() as session:
        return reading.served(session, name, moment)


def _utc(text: str) -> datetime:
    """The time of ``at=``: a number is none, though Litestar would take it for seconds since 1970."""
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError as error:
        raise Invalid(f"at={text[:_SHOWN]} is no time", _WRITE_UTC) from error
    if at.tzinfo is None:
        raise Invalid(f"at={text} has no offset", _WRITE_UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise Invalid(f"at={text} lies outside the years 1 to 9999 in UTC", "Ask for a time within.") from error


@get(
    "/models/{name:str}/log",
    sync_to_thread=True,
    responses=refusals(404),
    summary="Who changed which alias, when and why",
)
def get_log(registry: Registry, name: ModelName, before: BeforeEntry = None, limit: Limit = 50) -> ChangePage:
    """One page of the append-only alias log."""
    with registry.database.reading() as session:
        return reading.log(session, name, before, limit)


SpecHash = Annotated[str, Parameter(pattern=SPEC_HASH, description="Beginning of the sha256, 16 digits or more.")]


@put(
    "/specs/{spec_hash:str}",
    opt={"scope": "publish"},
    operation_class=Keeping,
    responses=also(201, dict[str, str], "Kept") | refusals(408, 413, 422),
    request_max_body_size=MAX_SPEC_BYTES,
    summary="Keep a pipeline's spec",
    description="The body is the canonical form, byte for byte. 201 when it is new, 200 when it was there.",
)
async def put_spec(
    request: Request[Any, Any, State], registry: Registry, spec_hash: SpecHash
) -> Response[dict[str, str]]:
    """Keep a spec under its hash."""
    async with arriving_within(_UPLOAD_SECONDS):
        body = await request.body()
    is_new = await asyncio.to_thread(specs.put_spec, registry.database, spec_hash, body, datetime.now(UTC))
    return Response({"hash": spec_hash}, status_code=201 if is_new else 200)


@get("/specs/{spec_hash:str}", sync_to_thread=True, responses=refusals(404), summary="A pipeline's spec by hash")
def get_spec(registry: Registry, spec_hash: SpecHash) -> Response[bytes]:
    """The canonical form, byte for byte."""
    body = specs.get_spec(registry.database, spec_hash).encode()
    return Response(body, media_type="application/json")


API = Router(
    "/api/v1",
    route_handlers=[
        post_version, get_models, get_model, get_versions, get_version, get_snapshot,
        put_alias, get_served, get_log, put_spec, get_spec,
    ],
)  # fmt: skip
