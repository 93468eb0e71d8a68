"""Who may do what in Kafka: Strimzi's users have what the product's own access table gives their role, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.kubernetes import generate
from schemas.acls import ROLES
from schemas.topics import SERVICES
from services.cli.access_lists import acls
from tests.unit.kubernetes.rendered import DEPLOY, names, of_kind, pod, workloads

KINDS = {"topic": "topic", "group": "group", "transactionalId": "transactional-id"}
PATTERNS = {"prefix": "prefixed", "literal": "literal"}
Entry = tuple[str, str, str, tuple[str, ...]]


def allowed(user: dict[str, Any]) -> list[Entry]:
    """What a KafkaUser may do, as `rivermill topics --acls` has it: kind, name, pattern, operations."""
    authorization = user["spec"]["authorization"]
    assert authorization["type"] == "simple"
    found = []
    for acl in authorization["acls"]:
        assert acl.keys() == {"resource", "operations"}  # allowed, from any host
        of = acl["resource"]
        found.append((KINDS[of["type"]], of["name"], PATTERNS[of["patternType"]], tuple(acl["operations"])))
    return found


def users() -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in of_kind("production", "KafkaUser")}


@pytest.mark.parametrize("role", ROLES)
def test_a_user_may_do_what_the_table_says(role):
    """Each role's list equals the one that the command prints for this pipeline, entry by entry."""
    granted = generate.deployment(DEPLOY / "overlays" / "production").grants()
    told = [(it.resource, it.name, it.pattern, it.operations) for it in acls(granted, "{role}") if it.principal == role]
    assert told
    assert sorted(allowed(users()[role])) == sorted(told)


def test_users_are_the_roles_and_the_scaler():
    """No other user; each shows a certificate, and belongs to the cluster."""
    assert users().keys() == {*ROLES, "scaler"}
    (cluster,) = names("production", "Kafka")
    for user in users().values():
        assert user["spec"]["authentication"] == {"type": "tls"}
        assert user["metadata"]["labels"]["strimzi.io/cluster"] == cluster


def test_kafka_refuses_what_no_list_allows():
    """The authorizer is on, for every user: nobody is above the lists, and no list is no permission."""
    (kafka,) = of_kind("production", "Kafka")
    assert kafka["spec"]["kafka"]["authorization"] == {"type": "simple"}
    assert not [name for name in kafka["spec"]["kafka"]["config"] if name.startswith(("allow.everyone", "super"))]


def test_the_scaler_sees_the_lag_that_it_scales_on_and_reads_nothing():
    """KEDA may describe the groups and topics of its triggers, by their full names."""
    asked = [
        trigger["metadata"] for each in of_kind("production", "ScaledObject") for trigger in each["spec"]["triggers"]
    ]
    wanted = {("topic", each["topic"], "literal", ("Describe",)) for each in asked}
    wanted |= {("group", each["consumerGroup"], "literal", ("Describe",)) for each in asked}
    found = allowed(users()["scaler"])
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_every_pod_shows_the_certificate_of_its_service():
    """No service is another to Kafka, and none is an operator."""
    for name, workload in workloads("production").items():
        (secret,) = [each["secret"]["secretName"] for each in pod(workload)["volumes"] if each["name"] == "kafka-user"]
        service = name.split("-", maxsplit=1)[0]
        assert service in {*SERVICES, "registry"}
        assert secret == f"kafka-user-{service}"
