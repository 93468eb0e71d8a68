"""Every rendered document against the schemas of its kind, strictly."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.unit.kubernetes.rendered import DEPLOY, OVERLAYS, build, of_kind, rendered
from tests.unit.kubernetes.validation import VERSIONS, problems


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_is_valid(overlay: str, version: str):
    """No unknown field, no wrong type, nothing missing, in the oldest and the newest Kubernetes."""
    found = {f"{each['kind']}/{each['metadata']['name']}": problems(each, version) for each in rendered(overlay)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def _with(resource: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = deepcopy(resource)
    *way, last = path.split(".")
    node: Any = changed
    for step in way:
        node = node[int(step)] if step.isdecimal() else node[step]
    node[last] = value
    return changed


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("StatefulSet", "spec.template.spec.containers.0.readinesProbe", {}),
        ("StatefulSet", "spec.template.spec.terminationGracePeriodSeconds", "20"),
        ("Service", "spec.selectors", {}),
        ("NetworkPolicy", "spec.ingres", []),
        ("PodDisruptionBudget", "spec.minAvailabel", 1),
        ("Kafka", "spec.kafka.listeners.0.authentication.typ", "tls"),
        ("Kafka", "spec.kafka.listeners.0.type", "internally"),
        ("Kafka", "spec.zookeeper", {}),
        ("KafkaNodePool", "spec.template.pod.affinity.podAntiAfinity", {}),
        ("KafkaTopic", "spec.partitions", "12"),
        ("KafkaTopic", "metadata.label", {}),
        ("Kafka", "spec.kafka.authorization.type", "everybody"),
        ("KafkaUser", "spec.authentication.type", "password"),
        ("KafkaUser", "spec.authorization.acls.0.resource.type", "transactional-id"),
        ("KafkaUser", "spec.authorization.acls.0.operations", ["Look"]),
        ("ScaledObject", "spec.maxReplicas", 3),
        ("ScaledObject", "spec.triggers.0.metadata.lagThreshold", 5),
        ("TriggerAuthentication", "spec.secretTargetRef.0.secret", "x"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.portt", "http"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.relabelings.0.target", "pipeline"),
    ],
)
def test_a_wrong_field_is_found(kind: str, path: str, value: Any):
    """The schemas are strict for every kind of document that the production overlay has."""
    good = of_kind("production", kind)[0]
    assert problems(_with(good, path, value), VERSIONS[-1])


def test_each_name_is_there_once_and_in_the_overlays_namespace():
    """Nothing overwrites another resource, and nothing lands in the namespace that kubectl happens to use."""
    for overlay, namespace in (("try", "rivermill-try"), ("production", "rivermill")):
        named = [(each["kind"], each["metadata"]["name"]) for each in rendered(overlay)]
        assert len(named) == len(set(named))
        elsewhere = [
            each for each in rendered(overlay)
            if each["kind"] != "Namespace" and each["metadata"].get("namespace") != namespace
        ]  # fmt: skip
        assert elsewhere == []
        assert [each["metadata"]["name"] for each in of_kind(overlay, "Namespace")] == [namespace]


def test_the_secrets_are_made_of_files_that_git_ignores(tmp_path):
    """The example generator gives the Secret that pods refer to, and no overlay holds one."""
    for name in ("kustomization.yaml", ".gitignore"):
        (tmp_path / name).write_text((DEPLOY / "secrets" / name).read_text())
    ignored = (tmp_path / ".gitignore").read_text().split()
    assert ignored == ["/signing-key", "/registry-token"]
    for name in ignored:
        (tmp_path / name.strip("/")).write_text("x" * 64)
    (secret,) = build(tmp_path)
    assert problems(secret, VERSIONS[-1]) == []
    assert (secret["metadata"]["name"], set(secret["data"])) == ("rivermill", {"signing-key", "registry-token"})
    assert all(of_kind(overlay, "Secret") == [] for overlay in OVERLAYS)
