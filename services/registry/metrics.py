"""Every metric of the registry, with its meaning; in a registry of its own, served at ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

REQUESTS = Counter(
    "rivermill_registry_requests",
    "HTTP requests answered, by method, route and status.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "rivermill_registry_request_seconds",
    "Time from a request's arrival to the end of its answer, by route.",
    ("route",),
    buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
    registry=REGISTRY,
)
VERSIONS = Counter("rivermill_registry_versions", "New versions published.", registry=REGISTRY)
REPEATS = Counter(
    "rivermill_registry_repeated_versions", "Versions posted again; the first was returned.", registry=REGISTRY
)
SNAPSHOT_BYTES = Counter("rivermill_registry_snapshot_bytes", "Bytes of new snapshots stored.", registry=REGISTRY)
DECISIONS = Counter(
    "rivermill_registry_alias_decisions",
    "Decisions that changed an alias, by pipeline (the first 100 that are decided on; else other) and what they did.",
    ("pipeline", "verb"),
    registry=REGISTRY,
)
OUTBOX_RECORDS = Gauge(
    "rivermill_registry_outbox_records", "Alias records that wait for the broker.", registry=REGISTRY
)
OUTBOX_OLDEST_SECONDS = Gauge(
    "rivermill_registry_outbox_oldest_seconds", "How long the oldest record has waited for the broker.",
    registry=REGISTRY,
)  # fmt: skip
PUBLISHED = Counter("rivermill_registry_published_records", "Alias records the broker acknowledged.", registry=REGISTRY)
PUBLISH_FAILURES = Counter(
    "rivermill_registry_publish_failures", "Attempts to publish alias records that failed.", registry=REGISTRY
)
BROKER_CONNECTED = Gauge(
    "rivermill_registry_broker_connected", "1 while the broker takes this registry's alias records, else 0.",
    registry=REGISTRY,
)  # fmt: skip
STANDBY = Gauge(
    "rivermill_registry_standby", "1 while another registry on the same database publishes alias records, else 0.",
    registry=REGISTRY,
)  # fmt: skip
_MOST_PIPELINES = 100
_decided: set[str] = set()


def count_decision(pipeline: str, verb: str | None) -> None:
    """Count a decision; ``verb`` None changed nothing."""
    if verb is None:
        return
    if len(_decided) < _MOST_PIPELINES:
        _decided.add(pipeline)
    DECISIONS.labels(pipeline if pipeline in _decided else "other", verb).inc()
