"""The overlays as kustomize renders them.

The dev requirements bring a kubectl for Linux, which holds kustomize; elsewhere one on PATH is taken.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("try", "production")

Resource = dict[str, Any]


def build(folder: Path) -> list[Resource]:
    """All resources of a folder with a kustomization."""
    done = subprocess.run([*_command(), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _command() -> list[str]:
    if own := shutil.which("kubectl", path=str(Path(sys.executable).parent)):
        return [own, "kustomize"]
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build"]
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    pytest.fail("no kustomize: run `make venv` (on Linux it brings one), or install kubectl or kustomize")


@cache
def rendered(overlay: str) -> tuple[Resource, ...]:
    """All resources of an overlay, rendered once; not to be changed."""
    return tuple(build(DEPLOY / "overlays" / overlay))


def of_kind(overlay: str, *kinds: str) -> list[Resource]:
    return [resource for resource in rendered(overlay) if resource["kind"] in kinds]


def names(overlay: str, kind: str) -> list[str]:
    return [resource["metadata"]["name"] for resource in of_kind(overlay, kind)]


def workloads(overlay: str) -> dict[str, Resource]:
    """Rivermill's own StatefulSets and Deployments by name."""
    return {
        resource["metadata"]["name"]: resource
        for resource in of_kind(overlay, "StatefulSet", "Deployment")
        if pod_labels(resource).get("app.kubernetes.io/part-of") == "rivermill"
    }


def pod_labels(workload: Resource) -> dict[str, str]:
    return workload["spec"]["template"]["metadata"]["labels"]


def pod(workload: Resource) -> Resource:
    return workload["spec"]["template"]["spec"]


def container(workload: Resource) -> Resource:
    """The one container of a pod."""
    (one,) = pod(workload)["containers"]
    return one


def port(workload: Resource) -> int:
    """The one port of a pod, which is called ``http``, or ``kafka``."""
    (one,) = container(workload)["ports"]
    assert one["name"] in {"http", "kafka"}
    return one["containerPort"]


def config_map(overlay: str, name: str) -> dict[str, str]:
    (data,) = [found["data"] for found in of_kind(overlay, "ConfigMap") if found["metadata"]["name"] == name]
    return data


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector (``matchLabels`` alone) matches."""
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()
