"""What machines look at beside the API: health, readiness and metrics."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from services.registry import outbox
from services.registry.api import Registry
from services.registry.metrics import REGISTRY


@get("/healthz", sync_to_thread=False, opt={"unlimited": True}, summary="Whether the process answers")
def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@get("/readyz", sync_to_thread=True, opt={"unlimited": True}, summary="Whether requests can be answered")
def readyz(registry: Registry) -> Response[dict[str, Any]]:
    """200 when the database answers. A broker that is away, or another registry that publishes, makes none unready."""
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


HEALTH = [healthz, readyz, metrics]
