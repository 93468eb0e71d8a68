"""What pods run, with which settings, and what they may do: held against the product's own code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from services.domain.spec import parse
from services.learner.app import ROLES
from services.registry.process import command as registry_command
from services.registry.settings import registry_settings
from services.runtime.launch import arguments
from services.runtime.settings import DEFAULT_PORTS, from_environment
from tests.unit.kubernetes.rendered import (
    OVERLAYS,
    ROOT,
    Resource,
    config_map,
    container,
    of_kind,
    pod,
    port,
    workloads,
)  # fmt: skip

NAMES = ("cleaning", "scoring", "learner-join", "learner-train", "drift", "registry")
EACH = [(overlay, name) for overlay in OVERLAYS for name in NAMES]
SECRET = "0123456789abcdef0123456789abcdef"
URL = "postgresql://rivermill@database/rivermill"
_SECRETS = re.compile(r"\b(?:secret|_key)\(env, \"(RIVERMILL_\w+)\"\)")
_VARIABLE = re.compile(r"\bRIVERMILL_[A-Z_]+[A-Z]\b")


def known() -> set[str]:
    """Every variable that the settings of services and registry read."""
    source = "".join((ROOT / "services" / part / "settings.py").read_text() for part in ("runtime", "registry"))
    read = set(re.findall(r"env(?:\.get\(|, )\"(RIVERMILL_[A-Z_]+)\"", source))
    return read | {f"{name}_FILE" for name in re.findall(_SECRETS, source)}


def environment(overlay: str, workload: Resource) -> dict[str, str]:
    """The environment of a pod, with a made-up value for each secret."""
    found: dict[str, str] = {}
    for source in container(workload).get("envFrom", []):
        if "configMapRef" in source:
            found |= config_map(overlay, source["configMapRef"]["name"])
    for each in container(workload).get("env", []):
        found[each["name"]] = each["value"] if "value" in each else _value(each["valueFrom"])
    return found


def _value(source: Mapping[str, Any]) -> str:
    if "fieldRef" in source:
        assert source["fieldRef"]["fieldPath"] == "metadata.name"
        return "cleaning-0"
    return URL if source["secretKeyRef"]["key"] == "url" else SECRET


def mounts(workload: Resource) -> dict[str, Resource]:
    """Volumes by the path where they are mounted."""
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    volumes |= {claim["metadata"]["name"]: claim for claim in workload["spec"].get("volumeClaimTemplates", [])}
    mounted = {mount["mountPath"]: volumes.pop(mount["name"]) for mount in container(workload)["volumeMounts"]}
    assert volumes == {}, "volumes that nothing mounts"
    return mounted


def secrets(workload: Resource) -> set[tuple[str, str]]:
    """Names of the Secrets that a pod refers to, each with a key, or with ``*`` for all of it."""
    one = container(workload)
    found = set()
    for volume in (each["secret"] for each in pod(workload)["volumes"] if "secret" in each):
        found |= {(volume["secretName"], item["key"]) for item in volume.get("items", [{"key": "*"}])}
    found |= {(each["secretRef"]["name"], "*") for each in one.get("envFrom", []) if "secretRef" in each}
    sources = [each.get("valueFrom", {}) for each in one.get("env", [])]
    return found | {
        (each["secretKeyRef"]["name"], each["secretKeyRef"]["key"]) for each in sources if "secretKeyRef" in each
    }


def holds(overlay: str, workload: Resource, path: str) -> bool:
    """Whether a file is there in the container: part of a mounted Secret or ConfigMap."""
    volume = mounts(workload).get(str(PurePosixPath(path).parent), {})
    name = PurePosixPath(path).name
    if "configMap" in volume:
        return name in config_map(overlay, volume["configMap"]["name"])
    secret = volume.get("secret", {})
    if secret.get("secretName", "").startswith("kafka-user-"):
        return name in {"user.crt", "user.key"}  # as Strimzi names them
    return name in {item["path"] for item in secret.get("items", [])}


def test_the_workloads_are_those_of_the_product():
    """Five services, the learner in its two roles, in both overlays."""
    assert all(set(workloads(overlay)) == set(NAMES) for overlay in OVERLAYS)


@pytest.mark.parametrize(("overlay", "name"), EACH)
def test_the_command_is_one_that_the_service_takes(overlay, name):
    """Module, options and pipeline file exist; the port is the service's."""
    workload = workloads(overlay)[name]
    python, flag, module, *rest = container(workload)["command"]
    service = module.removeprefix("services.")
    assert (python, flag, service) == ("python", "-m", name.split("-", maxsplit=1)[0])
    assert (ROOT / "services" / service / "__main__.py").exists()
    if service == "registry":
        _, bound, _ = registry_command.parse_args(rest, print_error=False, exit_on_error=False)
        assert bound.arguments == {"host": "0.0.0.0", "port": port(workload)}  # noqa: S104 - a pod's
        return
    parser = arguments(service, "")
    if service == "learner":
        parser.add_argument("--role", choices=ROLES, required=True)
    options = parser.parse_args(rest)
    assert holds(overlay, workload, str(options.pipeline))
    assert service != "learner" or options.role == name.removeprefix("learner-")
    assert port(workload) == DEFAULT_PORTS[service]


@pytest.mark.parametrize(("overlay", "name"), EACH)
def test_every_variable_is_known_and_every_setting_valid(overlay, name, tmp_path):
    """No variable that nobody reads; each file that one names is mounted; the settings can be read."""
    workload = workloads(overlay)[name]
    env = environment(overlay, workload)
    assert {variable for variable in env if variable not in known()} == set()
    for variable, value in env.items():
        if variable.endswith("FILE"):
            assert holds(overlay, workload, value), f"{variable} names {value}, which is not mounted"
            env[variable] = str(tmp_path / variable)
            Path(env[variable]).write_text(SECRET)
    settings = from_environment(env)
    assert settings.data_dir == Path("/var/lib/rivermill")
    assert (settings.slot is None) == (name == "registry")
    assert settings.bind == "0.0.0.0"  # noqa: S104 - a pod's
    assert (settings.registry_token is not None) == (name in {"registry", "learner-train", "scoring"})
    assert (settings.signing_key is not None) == (name in {"scoring", "learner-train"})
    assert settings.replication == {"try": 1, "production": 3}[overlay]
    if name == "registry":
        registry = registry_settings(env, "0.0.0.0", 8080)  # noqa: S104 - a pod's
        assert (registry.database, registry.blobs) == {
            "try": ("sqlite:////var/lib/rivermill/registry/registry.sqlite", "/var/lib/rivermill/registry/blobs"),
            "production": (URL, "s3://rivermill"),
        }[overlay]
        assert registry.anonymous == ()  # as docs/kubernetes.md says


def test_an_unknown_variable_would_be_found():
    """What is known is what the documentation lists for services and registry, and not just anything."""
    listed, from_code = (
        {name for name in names if not name.endswith("_FILE")}
        for names in (_VARIABLE.findall((ROOT / "docs" / "operating.md").read_text()), known())
    )
    assert from_code == listed - {"RIVERMILL_CACHE_DIR", "RIVERMILL_MAVEN_URL"}  # these are the command's
    assert "RIVERMILL_SIGNING_KEY_FILE" in known()
    assert "RIVERMILL_BROKER_FILE" not in known()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pipeline_file_is_valid(overlay):
    """What is mounted can be read by every service."""
    (name,) = {mounts(workloads(overlay)[each])["/etc/rivermill"]["configMap"]["name"] for each in NAMES[:-1]}
    spec = parse(config_map(overlay, name)["pipeline.toml"], "pipeline.toml")
    assert spec.pipeline.name == {"try": "flights", "production": "orders"}[overlay]


def test_the_flights_are_those_of_the_example():
    """The overlay to try holds a copy, since kustomize reads nothing above its own folder."""
    text = config_map("try", mounts(workloads("try")["cleaning"])["/etc/rivermill"]["configMap"]["name"])[
        "pipeline.toml"
    ]
    assert text == (ROOT / "examples" / "flights" / "pipeline.toml").read_text()


@pytest.mark.parametrize(("overlay", "name"), EACH)
def test_health_is_asked_as_the_documentation_says(overlay, name):
    """Restarted for /healthz alone and late, unready by /readyz, with more time to stop than the 10 s it takes."""
    spec = pod(workloads(overlay)[name])
    probes = container(workloads(overlay)[name])
    paths = {kind: probes[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    healthz, readyz = {"path": "/healthz", "port": "http"}, {"path": "/readyz", "port": "http"}
    assert paths == {"startup": healthz, "liveness": healthz, "readiness": readyz}
    pause = probes.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert spec["terminationGracePeriodSeconds"] >= 10 + 5 + pause
    liveness = probes["livenessProbe"]
    if name != "registry":
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 300


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_keeps_to_the_restricted_standard(overlay):
    """Not root, no writable image, no capabilities, seccomp, no token of the API server; bounded memory and disk."""
    for workload in of_kind(overlay, "StatefulSet", "Deployment"):
        spec, one = pod(workload), container(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        requests, limits = one["resources"]["requests"], one["resources"]["limits"]
        assert (requests.keys(), limits.keys()) == ({"cpu", "memory"}, {"memory"})
        assert all(re.fullmatch(r"\d+(m|[MG]i)?", str(each)) for each in (*requests.values(), *limits.values()))
        mounted = mounts(workload)
        assert not any("hostPath" in volume for volume in mounted.values())
        fixed = [path for path, volume in mounted.items() if {"secret", "configMap"} & volume.keys()]
        assert set(fixed) == {mount["mountPath"] for mount in one["volumeMounts"] if mount.get("readOnly")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_named_with_the_versions_of_this_release(overlay):
    """No `latest`; ours is this release's, and the Kafka to try is the one that the tests run."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    images = {container(each)["image"] for each in workloads(overlay).values()}
    assert len(images) == 1
    assert images.pop().rpartition(":")[2] == version[1]
    if overlay == "try":
        (kafka,) = [each for each in of_kind("try", "StatefulSet") if each["metadata"]["name"] == "kafka"]
        jars = (ROOT / "services" / "cli" / "resources").glob("*")
        assert any(f"kafka_2.13:{container(kafka)['image'].rpartition(':')[2]}\n" in each.read_text() for each in jars)


def test_secrets_are_named_and_described():
    """Each Secret that a pod refers to is one that docs/kubernetes.md tells how to make, or that Strimzi makes."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    named = {secret for overlay in OVERLAYS for each in workloads(overlay).values() for secret in secrets(each)}
    users = [each["metadata"]["name"] for each in of_kind("production", "KafkaUser")]
    of_strimzi = {("rivermill-cluster-ca-cert", "ca.crt")} | {(f"kafka-user-{name}", "*") for name in users}
    ours = {("rivermill", key) for key in ("signing-key", "signing-key-previous", "registry-token")}
    ours |= {("registry-database", "url"), ("registry-blobs", "*")}
    assert named - of_strimzi == ours
    assert all(f"`{word}`" in page for secret in ours for word in secret if word != "*")
