"""Take the schemas that the manifests are held against out of their sources: see ``schemas/README.md``.

python -m tests.unit.kubernetes.collect kubernetes 1.37 .../v1.37.0-local-strict/_definitions.json
python -m tests.unit.kubernetes.collect crds CRD.yaml ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).parent / "schemas"
KINDS = (
    "io.k8s.api.core.v1.ConfigMap", "io.k8s.api.core.v1.Namespace", "io.k8s.api.core.v1.PersistentVolumeClaim",
    "io.k8s.api.core.v1.Secret", "io.k8s.api.core.v1.Service", "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.StatefulSet", "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
)  # fmt: skip
_TEXT = {"description", "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-validations"}


def kubernetes(version: str, source: Path) -> None:
    """The definitions of the kinds we use, with all that they refer to."""
    definitions = json.loads(source.read_text())["$defs"]
    wanted = {}
    waiting = list(KINDS)
    while waiting:
        if (name := waiting.pop()) not in wanted:
            wanted[name] = _bare(definitions[name])
            waiting += [reference.rpartition("/")[2] for reference in _references(definitions[name])]
    _write(f"kubernetes-{version}", {"$defs": dict(sorted(wanted.items()))})


def crd(source: Path) -> None:
    """The stored version of a custom resource."""
    spec = yaml.safe_load(source.read_text())["spec"]
    version = next(version for version in spec["versions"] if version["storage"])
    name = f"{spec['group']}_{version['name']}_{spec['names']['kind']}"
    _write(name, _bare(version["schema"]["openAPIV3Schema"]))


def _bare(node: Any) -> Any:
    """A schema without its texts; a property may be named like one of them."""
    if isinstance(node, list):
        return [_bare(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _bare(value) for name, value in part.items()} if key in {"properties", "$defs"} else _bare(part)
        for key, part in node.items()
        if key not in _TEXT
    }


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _write(name: str, schema: dict[str, Any]) -> None:
    (SCHEMAS / f"{name}.json").write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "kubernetes":
        kubernetes(rest[0], Path(rest[1]))
    else:
        for each in rest:
            crd(Path(each))
