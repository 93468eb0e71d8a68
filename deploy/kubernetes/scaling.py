"""How far and on what each service is scaled: KEDA's ScaledObjects on the lag of its consumer group.

Stages commit their offsets to their group about once a second, for tools such as this one; where a lane really stands
is in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.acls import Grant
from services.runtime.launch import Deployment

BOOTSTRAP = "rivermill-kafka-bootstrap.rivermill.svc:9093"
"""Kafka as KEDA's operator reaches it, from a namespace of its own."""
_LEAST = 2
_LAG = 20_000
"""Records behind for which a process more is started: more than one handles within the second between two commits."""
_CALM_S = 300
"""A process is taken away when nothing has asked for it that long: each move of a lane restores it."""
_PROTOCOL = "2.1.0"
"""Of Kafka, as KEDA speaks it: the oldest that Kafka 4 still understands. KEDA's own default is older."""
_AUTHENTICATION = "kafka"
USER = "scaler"
"""Who KEDA is to Kafka."""


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """A workload, and the stage and its input streams whose lag it is scaled on."""

    workload: str
    service: str
    stage: str
    streams: tuple[str, ...]


SCALED = (
    Scaled(workload="cleaning", service="cleaning", stage="clean", streams=("events.raw", "labels.raw")),
    Scaled(workload="scoring", service="scoring", stage="score", streams=("events.clean",)),
    Scaled(workload="learner-join", service="learner", stage="join", streams=("predictions", "labels.clean")),
    Scaled(workload="drift", service="drift", stage="summarise", streams=("predictions",)),
)
"""Training and detecting are folds of one partition: a second process would be idle."""


def scaled_objects(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """A ScaledObject a workload, from two processes up to one a partition."""
    for scaled in SCALED:
        yield {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": scaled.workload},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": scaled.workload},
                "minReplicaCount": min(_LEAST, deployment.partitions),
                "maxReplicaCount": deployment.partitions,
                "pollingInterval": 15,
                "advanced": {
                    "horizontalPodAutoscalerConfig": {
                        "behavior": {"scaleDown": {"stabilizationWindowSeconds": _CALM_S}}
                    }
                },
                "triggers": [_trigger(deployment, scaled, stream) for stream in scaled.streams],
            },
        }


def _trigger(deployment: Deployment, scaled: Scaled, stream: str) -> dict[str, Any]:
    return {
        "type": "kafka",
        "metadata": {
            "bootstrapServers": BOOTSTRAP,
            "consumerGroup": _group(deployment, scaled),
            "topic": _topic(deployment, stream),
            "lagThreshold": str(_LAG),
            "offsetResetPolicy": "earliest",
            "tls": "enable",
            "version": _PROTOCOL,
        },
        "authenticationRef": {"name": _AUTHENTICATION},
    }


def _group(deployment: Deployment, scaled: Scaled) -> str:
    return f"{deployment.name}.{scaled.service}.{scaled.stage}"


def _topic(deployment: Deployment, stream: str) -> str:
    raw = {"events.raw": deployment.events_topic, "labels.raw": deployment.labels_topic}
    return raw.get(stream) or deployment.topic(stream)


def scaler_grants(deployment: Deployment) -> list[Grant]:
    """What Kafka must let KEDA do: see how far these groups are in these topics, and read no record."""
    topics = sorted({_topic(deployment, stream) for scaled in SCALED for stream in scaled.streams})
    groups = [_group(deployment, scaled) for scaled in SCALED]
    return [
        Grant(role=USER, resource="topic", names=tuple(topics), operations=("Describe",)),
        Grant(role=USER, resource="group", names=tuple(groups), operations=("Describe",)),
    ]


def trigger_authentication() -> dict[str, Any]:
    """What KEDA shows Kafka: the certificate that Strimzi makes for the KafkaUser of KEDA."""
    secrets = (
        ("ca", "rivermill-cluster-ca-cert", "ca.crt"),
        ("cert", f"kafka-user-{USER}", "user.crt"),
        ("key", f"kafka-user-{USER}", "user.key"),
    )
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": _AUTHENTICATION},
        "spec": {
            "secretTargetRef": [{"parameter": what, "name": name, "key": key} for what, name, key in secrets],
        },
    }
