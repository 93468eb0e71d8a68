"""The pages people look at. They work without scripts; those only draw the plots and keep what is shown fresh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import Parameter

from services.domain.registry_api import NAME, Model, Version
from services.registry import aliases, history, outbox, profiles, reading
from services.registry.api import BeforeEntry, BeforeVersion, ModelName, Number, Registry
from services.registry.guards import COOKIE, who_asks
from services.registry.incidents import MOST
from services.registry.lineage import lineage
from services.registry.plots import Drawing, drawing
from services.registry.rendering import html

_Request = Request[Any, Any, Any]
_MODELS = 100
_VERSIONS = 50
_ENTRIES = 25
_INCIDENTS = 10
_INCIDENTS_A_PAGE = 50
_METRICS_SHOWN = 5
_SOON = timedelta(seconds=10)
"""Within which another registry publishes what this one was told."""
_WAITING_FOR = {
    "unset": "no broker is set (RIVERMILL_BROKER)",
    "away": "the broker is away",
    "standby": "another registry on this database publishes, and has not yet",
}
_FIRST = ("log_loss_recent", "auc_recent", "rmse_recent", "mae", "log_loss", "auc", "rmse", "accuracy", "examples")
_COUNTED = ("examples", "positive_rate")


def page(
    template: str, request: _Request, registry: Registry, status: int = 200, *, caveat: str = "", **values: Any
) -> Response[str]:
    """A page with what all of them have: how publishing stands, and who is signed in."""
    may_promote = "promote" in who_asks(request).scopes
    return html(
        template, request, status, notice=_notice(registry), caveat=caveat, may_promote=may_promote,
        signed_in=bool(request.cookies.get(COOKIE)), **values,
    )  # fmt: skip


def _notice(registry: Registry) -> str:
    """What a person should know about publishing, if anything."""
    delivery, backlog = registry.publisher.delivery, outbox.backlog(registry.database)
    if backlog.since is None or delivery.broker == "connected":
        return ""
    if delivery.broker == "standby" and datetime.now(UTC) - backlog.since < _SOON:
        return ""
    why = _WAITING_FOR[delivery.broker]
    return f"{backlog.records} changed aliases wait to be published: {why}, so scoring does not know of them yet."


@get("/", sync_to_thread=True, include_in_schema=False)
def models_page(
    request: _Request, registry: Registry, after: Annotated[str | None, Parameter(pattern=NAME)] = None
) -> Response[str]:
    """All models: what is served, how good it is, whether something is wrong."""
    with registry.database.reading() as session:
        found = [each for each in reading.models(session) if after is None or each.name > after]
        shown = found[:_MODELS]
        newest = {
            each.name: reading.version_of(row)
            for each in shown
            if each.champion and (row := aliases.newest(session, each.name, each.champion.candidate)) is not None
        }
    return page(
        "models.html", request, registry, models=shown, newest=newest, caveat=registry.follower.caveat,
        more=shown[-1].name if len(found) > len(shown) else None,
        metrics={name: _metrics_of([version])[:2] for name, version in newest.items()},
        incidents={each.name: registry.follower.incidents.open(each.name) for each in shown},
    )  # fmt: skip


@get("/models/{name:str}", sync_to_thread=True, include_in_schema=False)
def model_page(
    request: _Request,
    registry: Registry,
    name: ModelName,
    before: BeforeVersion = None,
    log_before: BeforeEntry = None,
) -> Response[str]:
    """One model: what is served, how its candidates do, its incidents, its versions, and who changed what."""
    with registry.database.reading() as session:
        model = reading.model(session, name)
        versions = reading.versions(session, name, None, before, _VERSIONS)
        entries, older = history.log(session, name, log_before, _ENTRIES)
    incidents = registry.follower.incidents.of(name)
    return page(
        "model.html", request, registry, model=model, versions=versions, entries=entries, older=older,
        before=before, log_before=log_before, metrics=_metrics_of(versions.items), named=_named(model),
        incidents=incidents[:_INCIDENTS], all_incidents=len(incidents), caveat=registry.follower.caveat,
    )  # fmt: skip


@get("/models/{name:str}/plots", sync_to_thread=True, include_in_schema=False)
def plots_data(registry: Registry, name: ModelName) -> Response[Drawing]:
    """What the plots of a model draw."""
    with registry.database.reading() as session:
        found = drawing(session, name, registry.follower.incidents.of(name))
    return Response(found, headers={"Cache-Control": "no-store"})


@get("/models/{name:str}/versions/{version:int}", sync_to_thread=True, include_in_schema=False)
def version_page(request: _Request, registry: Registry, name: ModelName, version: Number) -> Response[str]:
    """One version: manifest, lineage, metrics, canaries."""
    with registry.database.reading() as session:
        model = reading.model(session, name)
        row = reading.version(session, name, version)
        came_from = lineage(session, row)
    made = registry.manifests.made(registry.blobs, row)
    shown = reading.version_of(row)
    return page(
        "version.html", request, registry, model=model, version=shown, lineage=came_from, made=made,
        metrics=_sorted(shown.metrics), named=_named(model).get(version, []),
    )  # fmt: skip


@get("/models/{name:str}/incidents", sync_to_thread=True, include_in_schema=False)
def incidents_page(
    request: _Request, registry: Registry, name: ModelName, after: Annotated[int, Parameter(ge=0, le=MOST)] = 0
) -> Response[str]:
    """The incidents of a model that are known here, with their suspects before and after."""
    with registry.database.reading() as session:
        model = reading.model(session, name)
    found = registry.follower.incidents.of(name)
    further = after + _INCIDENTS_A_PAGE
    return page(
        "incidents.html", request, registry, model=model, incidents=found[after:further], after=after,
        further=further if further < len(found) else None, caveat=registry.follower.caveat,
    )  # fmt: skip


@get("/models/{name:str}/fields", sync_to_thread=True, include_in_schema=False)
def fields_page(request: _Request, registry: Registry, name: ModelName) -> Response[str]:
    """Every field's missing values, mean and spread over the newest blocks of events."""
    with registry.database.reading() as session:
        model = reading.model(session, name)
    blocks = registry.follower.profiles.of(name)
    nothing = profiles.Part()
    fields = {field: profiles.over_all(blocks, field) for field in profiles.names(blocks)}
    over_time = {field: [block.fields.get(field, nothing) for block in blocks] for field in fields}
    return page(
        "fields.html", request, registry, model=model, blocks=blocks, fields=fields, over_time=over_time,
        nothing=nothing, caveat=registry.follower.caveat,
    )  # fmt: skip


def _metrics_of(versions: Iterable[Version]) -> list[str]:
    """The metrics' columns, a few in all."""
    names = {name for version in versions for name in version.metrics if name not in _COUNTED}
    return _sorted(names)[:_METRICS_SHOWN]


def _sorted(names: Iterable[str]) -> list[str]:
    """What is looked at first, the rest by name."""
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def _named(model: Model) -> dict[int, list[str]]:
    named = defaultdict(list)
    for alias in model.aliases.values():
        named[alias.version].append(alias.alias)
    return named


PAGES = [models_page, model_page, plots_data, version_page, incidents_page, fields_page]
