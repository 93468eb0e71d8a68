"""Topics and scaling follow from the pipeline file and the product's own stages; how the overlays differ."""

from __future__ import annotations

import pytest

from deploy.kubernetes import generate
from deploy.kubernetes.scaling import BOOTSTRAP, SCALED
from deploy.kubernetes.strimzi import resource_name
from services.cleaning.app import wire as cleaning
from services.drift.app import wire as drift
from services.learner.app import wire as learner
from services.runtime.launch import Deployment
from services.runtime.settings import Settings
from services.scoring.app import wire as scoring
from tests.unit.kubernetes.rendered import DEPLOY, names, of_kind, pod, pod_labels, selects, workloads
from tests.unit.kubernetes.test_pods import environment

PRODUCTION = DEPLOY / "overlays" / "production"
OPERATORS = {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser", "ScaledObject", "TriggerAuthentication", "PodMonitor"}


@pytest.fixture(scope="module")
def deployed() -> Deployment:
    spec = generate.deployment(PRODUCTION).spec
    return Deployment(spec, Settings(replication=3, signing_key=b"0123456789abcdef"))


def test_the_committed_files_are_fresh():
    """What is committed is what pipeline file and topic table give."""
    assert generate.main(["--check"]) == 0


def test_check_fails_until_the_files_are_written(tmp_path, capsys):
    """--check writes nothing and names the command; a stale file is written anew; a wrong pipeline file is told."""
    text = (PRODUCTION / "pipeline.toml").read_text()
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(text)
    overlay = str(tmp_path)
    assert generate.main([overlay, "--check"]) == 1
    assert "run `python -m deploy.kubernetes.generate`" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [pipeline]
    assert (generate.main([overlay]), generate.main([overlay, "--check"])) == (0, 0)
    pipeline.write_text(text.replace("partitions = 12", "partitions = 6"))
    assert (generate.main([overlay, "--check"]), generate.main([overlay])) == (1, 0)
    assert "maxReplicaCount: 6" in (tmp_path / "scaling.yaml").read_text()
    pipeline.write_text("[pipeline]\n")
    assert generate.main([overlay]) == 2


def test_the_topics_are_those_of_the_table(deployed):
    """Every topic that the pipeline owns, with its partitions and settings, and no other."""
    (cluster,) = names("production", "Kafka")
    found = {each["spec"]["topicName"]: each for each in of_kind("production", "KafkaTopic")}
    table = {topic.name: topic for topic in deployed.table()}
    assert found.keys() == table.keys()
    for name, topic in table.items():
        spec = found[name]["spec"]
        assert (spec["partitions"], spec["replicas"], spec["config"]) == (topic.partitions, 3, topic.config)
        assert found[name]["metadata"]["labels"]["strimzi.io/cluster"] == cluster


def test_topics_of_a_producer_are_not_made(tmp_path):
    """A raw topic of one's own is the producer's: no KafkaTopic, and the lag that is looked at is its."""
    text = (PRODUCTION / "pipeline.toml").read_text()
    (tmp_path / "pipeline.toml").write_text(text.replace("[event]\n", '[event]\ntopic = "Shop.New_Orders"\n'))
    written = {path.stem: text for path, text in generate.generated(tmp_path).items()}
    assert "orders.events.raw" not in "".join(written.values())
    topics, users, scaling = (written[name] for name in ("topics", "users", "scaling"))
    assert "Shop.New_Orders" not in topics
    assert "name: Shop.New_Orders" in users
    assert "topic: Shop.New_Orders" in scaling
    assert resource_name("Shop.New_Orders") == "shop.new-orders"


def test_what_is_scaled_on_is_a_stages_group_and_input(deployed):
    """Each trigger names the consumer group of a real stage and one of its topics; the wiring says which they are."""
    counts = {topic.name: topic.partitions for topic in deployed.table()}
    stages = [stage for wire in (cleaning, scoring, learner, drift) for stage in wire(deployed, counts)[0]]
    wide = {stage.group: set(stage.inputs) for stage in stages if max(stage.counts.values()) > 1}
    asked: dict[str, set[str]] = {}
    for each in of_kind("production", "ScaledObject"):
        for trigger in each["spec"]["triggers"]:
            asked.setdefault(trigger["metadata"]["consumerGroup"], set()).add(trigger["metadata"]["topic"])
    assert asked.keys() == wide.keys()
    for group, topics in asked.items():
        assert topics == wide[group] - {"orders.rekeyed", "orders.examples"}  # cleaning's own, and one of one partition


def test_the_scaler_speaks_a_protocol_that_kafka_4_understands():
    """KEDA's own default is 1.0.0; Kafka 4 has dropped what is older than 2.1."""
    triggers = [trigger for each in of_kind("production", "ScaledObject") for trigger in each["spec"]["triggers"]]
    assert triggers
    for trigger in triggers:
        assert tuple(map(int, trigger["metadata"]["version"].split("."))) >= (2, 1, 0)


def test_services_scale_up_to_the_partitions_and_training_does_not(deployed):
    """From two to a process a partition; nothing else sets their number; the only writer of the model stays alone."""
    scaled = {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of_kind("production", "ScaledObject")}
    assert list(scaled) == [each.workload for each in sorted(SCALED, key=lambda each: each.workload)]
    ours = workloads("production")
    for name, spec in scaled.items():
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, deployed.partitions)
        assert spec["scaleTargetRef"]["kind"] == ours[name]["kind"]
        assert "replicas" not in ours[name]["spec"]
    assert "replicas" not in ours["learner-train"]["spec"]
    assert ours.keys() - scaled.keys() == {"learner-train", "registry"}
    for workload in ours.values():  # only transactions carry a group's offsets
        assert "RIVERMILL_DELIVERY" not in environment("production", workload)


def test_the_scaler_reaches_kafka_as_a_user_that_exists():
    """From a namespace of its own: the full name of the listener, and a certificate that Strimzi makes."""
    (kafka,) = of_kind("production", "Kafka")
    (listener,) = kafka["spec"]["kafka"]["listeners"]
    meta = kafka["metadata"]
    assert f"{meta['name']}-kafka-bootstrap.{meta['namespace']}.svc:{listener['port']}" == BOOTSTRAP
    prefix = kafka["spec"]["entityOperator"]["userOperator"]["secretPrefix"]
    made = {f"{meta['name']}-cluster-ca-cert"} | {f"{prefix}{name}" for name in names("production", "KafkaUser")}
    (authentication,) = of_kind("production", "TriggerAuthentication")
    assert {each["name"] for each in authentication["spec"]["secretTargetRef"]} <= made
    for each in of_kind("production", "ScaledObject"):
        assert all(
            t["authenticationRef"]["name"] == authentication["metadata"]["name"] for t in each["spec"]["triggers"]
        )
    for workload in workloads("production").values():
        volumes = {each["name"]: each for each in pod(workload)["volumes"]}
        user = volumes["kafka-user"]["secret"]["secretName"]
        assert user in made
        assert user == f"{prefix}{pod_labels(workload)['app.kubernetes.io/name']}"
        assert volumes["kafka-ca"]["secret"]["secretName"] in made


def test_a_drain_takes_one_pod_of_a_service_at_a_time():
    """A budget for each workload with more than one pod, that selects its pods alone."""
    ours = workloads("production")
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind("production", "PodDisruptionBudget")}
    assert budgets.keys() == ours.keys() - {"learner-train"}
    for name, spec in budgets.items():
        assert spec["maxUnavailable"] == 1
        assert [other for other, each in ours.items() if selects(spec["selector"], pod_labels(each))] == [name]
    assert ours["registry"]["spec"]["replicas"] == 2


def test_replicas_are_kept_apart():
    """Services over zones and nodes as far as there are any; the two registries, brokers and controllers never two on a node."""
    for workload in workloads("production").values():
        spread = pod(workload)["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        for each in spread:
            assert selects(each["labelSelector"], pod_labels(workload))
            assert "app.kubernetes.io/name" in each["matchLabelKeys"]
    registry = workloads("production")["registry"]
    (rule,) = pod(registry)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert (rule["topologyKey"], rule["matchLabelKeys"]) == ("kubernetes.io/hostname", ["pod-template-hash"])
    selected = [
        name for name, each in workloads("production").items() if selects(rule["labelSelector"], pod_labels(each))
    ]
    assert selected == ["registry"]
    for pool in of_kind("production", "KafkaNodePool"):
        affinity = pool["spec"]["template"]["pod"]["affinity"]["podAntiAffinity"]
        (rule,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        wanted = {"strimzi.io/cluster": "rivermill", "strimzi.io/pool-name": pool["metadata"]["name"]}
        assert rule["labelSelector"]["matchLabels"] == wanted
        assert (pool["spec"]["replicas"], pool["metadata"]["labels"]["strimzi.io/cluster"]) == (3, "rivermill")


def test_the_overlay_to_try_needs_no_operator():
    """Only what every cluster knows: one Kafka, one process a service, the registry on a volume of its own."""
    kinds = {each["kind"] for each in (*of_kind("try", *OPERATORS), *of_kind("try", "NetworkPolicy"))}
    assert kinds == set()
    assert all(of_kind("production", kind) for kind in OPERATORS)
    assert all(each["spec"].get("replicas", 1) == 1 for each in of_kind("try", "StatefulSet", "Deployment"))
    registry = workloads("try")["registry"]
    assert registry["spec"]["strategy"] == {"type": "Recreate"}
    claims = [
        each["persistentVolumeClaim"]["claimName"]
        for each in pod(registry)["volumes"]
        if "persistentVolumeClaim" in each
    ]
    assert claims == names("try", "PersistentVolumeClaim") == ["registry"]
