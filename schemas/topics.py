"""The topic table as code: the one place that names topics, partitions, retention and contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

MAX_MESSAGE_BYTES = 1024 * 1024
"""``max.message.bytes`` of the topics we create (Kafka's own default is 12 bytes more)."""
DEADLETTER_EXTRA_BYTES = 64 * 1024
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
FOR_EVER = -1
_LABELLED = ("labels.clean", "predictions", "outcomes")
"""Streams that the join reads back as far as labels are awaited."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: full ``name``, partitions, Kafka topic configuration, contract (dotted Struct name or None).

    ``least_retention_ms`` is how long its records are needed by restores, whatever its configuration says.
    """

    name: str
    stream: str
    key: str
    partitions: int
    config: dict[str, str]
    contract: str | None
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    least_retention_ms: int = 0


STREAMS = (
    "events.raw", "labels.raw", "rekeyed", "events.clean", "labels.clean", "predictions", "outcomes", "examples",
    "summaries", "alerts", "models", "parameters", "deadletter",
    "state.cleaning", "state.scoring", "state.learner", "state.drift",
)  # fmt: skip

SERVICES: tuple[Literal["cleaning", "scoring", "learner", "drift"], ...] = ("cleaning", "scoring", "learner", "drift")


def topic_name(pipeline: str, stream: str) -> str:
    """Full name of a stream of a pipeline: ``flights.events.clean``."""
    return f"{pipeline}.{stream}"


def _kept(retention_ms: int, **more: str) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(retention_ms), **more}


def _compacted(**more: str) -> dict[str, str]:
    return {"cleanup.policy": "compact", **more}


def topics(pipeline: str, partitions: int, retention_ms: int, horizon_ms: int, replication: int = 1) -> Sequence[Topic]:
    """All topics that Rivermill owns for one pipeline.

    ``retention_ms`` is the pipeline's retention of raw and clean records, ``horizon_ms`` the label's horizon;
    a producer's own raw topics are not in the table.
    """
    n = partitions
    labelled_ms = horizon_ms + retention_ms
    limit = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    arrival = {"message.timestamp.type": "LogAppendTime"}
    small = {"segment.bytes": str(16 * 1024 * 1024), "segment.ms": str(10 * _MINUTE_MS)}
    state = _compacted(**small, **{"min.cleanable.dirty.ratio": "0.1"}, **limit)
    big = {"max.message.bytes": str(MAX_MESSAGE_BYTES + DEADLETTER_EXTRA_BYTES)}

    all_services = " ".join(SERVICES)

    def row(
        stream: str, key: str, count: int, config: dict[str, str], contract: str | None = None, *, by: str, to: str
    ) -> Topic:
        if replication >= 3:  # noqa: PLR2004 - the least factor that survives the loss of one of its in-sync replicas
            config = {**config, "min.insync.replicas": "2"}
        return Topic(
            name=topic_name(pipeline, stream), stream=stream, key=key, partitions=count, config=config,
            contract=contract, written_by=tuple(by.split()), read_by=tuple(to.split()),
            least_retention_ms=horizon_ms if stream in _LABELLED else 0,
        )  # fmt: skip

    days = _kept(retention_ms, **limit)
    label_days = _kept(labelled_ms, **limit)
    ever = _kept(FOR_EVER, **limit)
    live = {"cleanup.policy": "compact,delete", "retention.ms": str(6 * 60 * _MINUTE_MS), **small, **limit}
    return (
        row("events.raw", "event id or anything", n, _kept(retention_ms, **arrival, **limit),
            by="producers", to="cleaning"),
        row("labels.raw", "event id or anything", n, _kept(retention_ms, **arrival, **limit),
            by="producers", to="cleaning"),
        row("rekeyed", "event id", n, _kept(retention_ms, **big), by="cleaning", to="cleaning"),
        row("events.clean", "event id", n, days, "schemas.events.CleanEvent", by="cleaning", to="scoring cleaning"),
        row("labels.clean", "event id", n, label_days, "schemas.labels.CleanLabel", by="cleaning", to="learner"),
        row("predictions", "event id", n, label_days, "schemas.predictions.Prediction",
            by="scoring", to="consumers learner drift"),
        row("outcomes", "event id", n, label_days, "schemas.outcomes.Outcome", by="learner", to="consumers learner"),
        row("examples", "event id", 1, ever, "schemas.examples.Record", by="learner", to=all_services),
        row("summaries", "input partition", 1, days, "schemas.summaries.Summary", by="drift", to="drift registry"),
        row("alerts", "incident id", 1, _kept(365 * _DAY_MS, **limit), "schemas.alerts.Alert",
            by="drift scoring learner", to="consumers registry"),
        row("models", "alias", 1, _compacted(**small, **limit), "schemas.models.AliasRecord",
            by="registry", to=f"{all_services} registry"),
        row("parameters", "live", 1, live, "schemas.parameters.LiveParameters", by="learner", to="scoring"),
        row("deadletter", "as the original", n, _kept(28 * _DAY_MS, **big),
            by="cleaning scoring learner drift", to="operators"),
        *(row(f"state.{service}", "stage/lane", n, state, "schemas.state.Checkpoint", by=service,
              to=all_services if service == "learner" else service)
          for service in SERVICES),
    )  # fmt: skip
