"""What people and machines look at beside the API: one plain page a model, health, readiness and metrics."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response, get
from markupsafe import Markup
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from services.domain.registry_api import Model, VersionPage
from services.registry import outbox, reading
from services.registry.api import Before, ModelName, Registry
from services.registry.metrics import REGISTRY

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_METRICS_SHOWN = 6
_FIRST = ("auc", "log_loss")


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(time=_time, figure=_figure)
    environment.globals["style"] = Markup(_STYLE)  # noqa: S704 - the project's own style sheet
    return environment


_ENVIRONMENT = _environment()


def _page(template: str, registry: Registry, **values: Any) -> Response[str]:
    text = _ENVIRONMENT.get_template(template).render(notice=_notice(registry), **values)
    return Response(text, media_type=MediaType.HTML, headers={"Cache-Control": "no-store"})


def _notice(registry: Registry) -> str:
    """What a person should know about publishing, if anything."""
    delivery, backlog = registry.publisher.delivery, outbox.backlog(registry.database)
    if not backlog.records or delivery.broker == "connected":
        return ""
    why = "no broker is set (RIVERMILL_BROKER)" if delivery.broker == "unset" else "the broker is away"
    return f"{backlog.records} changed aliases wait to be published: {why}, so scoring does not know of them yet."


@get("/", sync_to_thread=True, include_in_schema=False)
def models_page(registry: Registry) -> Response[str]:
    """All models."""
    with registry.database.reading() as session:
        return _page("models.html", registry, models=reading.models(session))


@get("/models/{name:str}", sync_to_thread=True, include_in_schema=False)
def model_page(registry: Registry, name: ModelName, before: Before = None) -> Response[str]:
    """One model: what is served, its versions, and who changed what."""
    with registry.database.reading() as session:
        model = reading.model(session, name)
        versions = reading.versions(session, name, None, before, 50)
        log = reading.log(session, name, None, 50)
    shown = _metrics_of(versions)
    return _page("model.html", registry, model=model, versions=versions, log=log, metrics=shown, named=_named(model))


def _metrics_of(versions: VersionPage) -> list[str]:
    """The metrics' columns: AUC and log loss first, the rest by name, a few in all."""
    names = sorted({name for version in versions.items for name in version.metrics})
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return names[:_METRICS_SHOWN]


def _named(model: Model) -> dict[int, list[str]]:
    named = defaultdict(list)
    for alias in model.aliases.values():
        named[alias.version].append(alias.alias)
    return named


@get("/healthz", sync_to_thread=False, opt={"unlimited": True}, summary="Whether the process answers")
def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@get("/readyz", sync_to_thread=True, opt={"unlimited": True}, summary="Whether requests can be answered")
def readyz(registry: Registry) -> Response[dict[str, Any]]:
    """200 when the database answers. A broker that is away makes nothing unready: records wait, and this tells."""
    delivery = registry.publisher.delivery
    body: dict[str, Any] = {"ready": True, "broker": delivery.broker, "error": delivery.error, "waiting": None}
    try:
        backlog = outbox.backlog(registry.database)
        body.update(waiting=backlog.records, waiting_since=backlog.since)
    except SQLAlchemyError as error:
        body.update(ready=False, error=f"the database does not answer: {type(error).__name__}")
    return Response(body, status_code=200 if body["ready"] else 503)


@get("/metrics", sync_to_thread=False, opt={"unlimited": True}, include_in_schema=False)
def metrics() -> Response[bytes]:
    """Prometheus metrics."""
    return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


PAGES = [models_page, model_page, healthz, readyz, metrics]
