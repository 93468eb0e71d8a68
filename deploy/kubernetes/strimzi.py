"""What Strimzi's operators are to make: a KafkaTopic a row of the topic table, a KafkaUser a role of the access table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploy.kubernetes.scaling import USER, scaler_grants
from schemas.acls import ROLES, Grant
from schemas.topics import Topic
from services.runtime.launch import Deployment

CLUSTER = "rivermill"
"""Name of the ``Kafka`` resource whose operators are to make them."""
_RESOURCES = {"topic": "topic", "group": "group", "transactional-id": "transactionalId"}


def kafka_topic(topic: Topic, replicas: int) -> dict[str, Any]:
    """A row of the topic table for the Topic Operator."""
    return {
        **_resource("KafkaTopic", resource_name(topic.name)),
        "spec": {
            "topicName": topic.name,
            "partitions": topic.partitions,
            "replicas": replicas,
            "config": dict(sorted(topic.config.items())),
        },
    }


def resource_name(topic: str) -> str:
    """A name that Kubernetes takes: topics may have capitals and underscores, resources may not."""
    return re.sub(r"[^a-z0-9.-]", "-", topic.lower())


def kafka_users(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """A user a role, and KEDA's, each with a certificate and its access; to Kafka they are ``User:CN=<role>``."""
    granted = [*deployment.grants(), *scaler_grants(deployment)]
    for role in (*ROLES, USER):
        acls = [acl for grant in granted if grant.role == role for acl in _acls(grant)]
        yield {
            **_resource("KafkaUser", role),
            "spec": {"authentication": {"type": "tls"}, "authorization": {"type": "simple", "acls": acls}},
        }


def _acls(grant: Grant) -> Iterator[dict[str, Any]]:
    for name in grant.names:
        yield {
            "resource": {
                "type": _RESOURCES[grant.resource],
                "name": name,
                "patternType": "prefix" if grant.prefixed else "literal",
            },
            "operations": list(grant.operations),
        }


def _resource(kind: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}}
    return {"apiVersion": "kafka.strimzi.io/v1", "kind": kind, "metadata": metadata}
