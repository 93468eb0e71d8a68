"""Who reaches whom: Services, addresses in the settings, and what the production overlay's network lets through."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.unit.kubernetes.rendered import (
    OVERLAYS,
    Resource,
    container,
    of_kind,
    pod_labels,
    port,
    selects,
    workloads,
)  # fmt: skip
from tests.unit.kubernetes.test_pods import NAMES, environment

KAFKA = {"strimzi.io/cluster": "rivermill", "strimzi.io/kind": "Kafka"}
"""Labels of what Strimzi makes for the cluster."""
BROKER = 9093


def labelled(overlay: str) -> dict[str, dict[str, str]]:
    return {name: pod_labels(workload) for name, workload in workloads(overlay).items()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_selects_the_pods_of_one_workload(overlay):
    """A Service of the same name as its workload, to a port that its pods have; each StatefulSet has its own."""
    everything = {each["metadata"]["name"]: each for each in of_kind(overlay, "StatefulSet", "Deployment")}
    for service in of_kind(overlay, "Service"):
        found = [
            name for name, each in everything.items() if service["spec"]["selector"].items() <= pod_labels(each).items()
        ]
        assert found == [service["metadata"]["name"]]
        (exposed,) = service["spec"]["ports"]
        (offered,) = container(everything[found[0]])["ports"]
        assert (exposed["targetPort"], exposed["port"]) == (offered["name"], offered["containerPort"])
    headless = {
        each["metadata"]["name"] for each in of_kind(overlay, "Service") if each["spec"].get("clusterIP") == "None"
    }
    assert {each["spec"]["serviceName"] for each in of_kind(overlay, "StatefulSet")} == headless


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_workload_selects_its_own_pods_alone(overlay):
    """Two roles of one service are two workloads: neither takes the other's pods for its own."""
    everything = of_kind(overlay, "StatefulSet", "Deployment")
    for workload in everything:
        found = [
            each["metadata"]["name"] for each in everything if selects(workload["spec"]["selector"], pod_labels(each))
        ]
        assert found == [workload["metadata"]["name"]]
        assert workload["metadata"]["labels"] == pod_labels(workload)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_registrys_address_is_its_service(overlay):
    """The URL in the settings names a Service and its port."""
    urls = {environment(overlay, each)["RIVERMILL_REGISTRY_URL"] for each in workloads(overlay).values()}
    (address,) = [urlsplit(url) for url in urls]
    (service,) = [each for each in of_kind(overlay, "Service") if each["metadata"]["name"] == address.hostname]
    assert [each["port"] for each in service["spec"]["ports"]] == [address.port]


def test_kafkas_address_is_the_one_to_try():
    """The broker in the settings is the Service, and what Kafka calls itself."""
    brokers = {environment("try", each)["RIVERMILL_BROKER"] for each in workloads("try").values()}
    (kafka,) = [each for each in of_kind("try", "StatefulSet") if each["metadata"]["name"] == "kafka"]
    env = {each["name"]: each["value"] for each in container(kafka)["env"]}
    assert brokers == {env["KAFKA_ADVERTISED_LISTENERS"].removeprefix("SERVICES://")} == {f"kafka:{port(kafka)}"}


def test_kafkas_address_is_strimzis_listener():
    """The broker in the settings is the bootstrap Service that Strimzi makes, and the protocol that of its listener."""
    (kafka,) = of_kind("production", "Kafka")
    (listener,) = kafka["spec"]["kafka"]["listeners"]
    assert (listener["tls"], listener["authentication"], listener["port"]) == (True, {"type": "tls"}, BROKER)
    name = kafka["metadata"]["name"]
    for workload in workloads("production").values():
        env = environment("production", workload)
        assert env["RIVERMILL_BROKER"] == f"{name}-kafka-bootstrap:{BROKER}"
        assert env["RIVERMILL_SECURITY_PROTOCOL"] == "SSL"
    allowed = [peer for peer in listener["networkPolicyPeers"] if "namespaceSelector" not in peer]
    assert all(
        any(selects(peer["podSelector"], labels) for peer in allowed) for labels in labelled("production").values()
    )


def _policies(labels: dict[str, str], direction: str) -> list[Resource]:
    return [
        each["spec"] for each in of_kind("production", "NetworkPolicy")
        if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], labels)
    ]  # fmt: skip


def _lets(rules: list[dict[str, Any]], side: str, labels: dict[str, str], to: tuple[str, int]) -> bool:
    """Whether one of a policy's rules lets a pod of our namespace through, to a port with its name."""
    for rule in rules:
        peers = rule.get(side)
        near = peers is None or any("podSelector" in p and "namespaceSelector" not in p and selects(p["podSelector"], labels)
                                    for p in peers)  # fmt: skip
        ports = rule.get("ports")
        if near and (ports is None or any(each["port"] in to for each in ports)):
            return True
    return False


def reaches(one: dict[str, str], other: dict[str, str], to: tuple[str, int]) -> bool:
    """Whether a connection between two pods of the namespace is let out by one and into the other."""
    out = any(_lets(policy.get("egress", []), "to", other, to) for policy in _policies(one, "Egress"))
    into = any(_lets(policy.get("ingress", []), "from", one, to) for policy in _policies(other, "Ingress"))
    return out and into


def test_services_reach_the_registry_only_if_they_need_it():
    """Scoring fetches snapshots and training publishes versions; no other pair of pods may talk."""
    pods = labelled("production")
    ports = {name: ("http", port(workload)) for name, workload in workloads("production").items()}
    open_ways = {(one, other) for one in NAMES for other in NAMES if reaches(pods[one], pods[other], ports[other])}
    assert open_ways == {("scoring", "registry"), ("learner-train", "registry")}


def test_every_service_may_go_out_to_kafka_and_to_names():
    """The broker's one port, DNS, and for the registry its database and bucket: nothing else leaves."""
    for name, labels in labelled("production").items():
        rules = [rule for policy in _policies(labels, "Egress") for rule in policy.get("egress", [])]
        far = {each["port"] for rule in rules if "to" not in rule for each in rule["ports"]}
        assert far == ({5432, 443} if name == "registry" else set())
        assert any(_lets([rule], "to", KAFKA, ("tls", BROKER)) for rule in rules)
        assert not any(_lets([rule], "to", KAFKA, ("replication", 9091)) for rule in rules)
        names = [rule for rule in rules if {"namespaceSelector": {"matchLabels": {
            "kubernetes.io/metadata.name": "kube-system"}}} in rule.get("to", [])]  # fmt: skip
        assert [each["port"] for rule in names for each in rule["ports"]] == [53, 53]


def test_what_no_policy_names_is_denied():
    """An empty selector with both directions and no rule: also for pods that come later."""
    (deny,) = [
        each["spec"] for each in of_kind("production", "NetworkPolicy") if each["metadata"]["name"] == "default-deny"
    ]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert not reaches({"app": "other"}, labelled("production")["registry"], ("http", 8080))
    assert _policies(KAFKA, "Egress")


def test_metrics_are_read_where_they_are():
    """The monitor selects every workload, by the port that probes use and the network lets in from monitoring."""
    (monitor,) = of_kind("production", "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for workload in workloads("production").values():
        assert selects(monitor["spec"]["selector"], pod_labels(workload))
        (offered,) = container(workload)["ports"]
        assert (endpoint["port"], endpoint["path"]) == (offered["name"], "/metrics")
        rules = [rule for policy in _policies(pod_labels(workload), "Ingress") for rule in policy.get("ingress", [])]
        far = [rule for rule in rules if any("namespaceSelector" in peer for peer in rule["from"])]
        assert [each["port"] for rule in far for each in rule["ports"]] == [endpoint["port"]]
