"""Strict validation of resources: a field that the API does not know is an error, as for ``kubectl apply --validate``.

The schemas are in ``schemas/``. Rules that custom resources carry in CEL are not evaluated.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.unit.kubernetes.collect import KINDS, SCHEMAS
from tests.unit.kubernetes.rendered import Resource

VERSIONS = ("1.31", "1.37")
"""The oldest Kubernetes that the manifests are for, and the newest there was."""
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def problems(resource: Resource, version: str) -> list[str]:
    """What is wrong with a resource, with its place; KeyError for a kind that there is no schema for."""
    found = []
    for validator, part in _validators(resource, version):
        found += [f"{error.json_path}: {error.message}" for error in validator.iter_errors(part)]
    return found


def _validators(resource: Resource, version: str) -> list[tuple[Draft202012Validator, Any]]:
    group, _, api = resource["apiVersion"].rpartition("/")
    if name := _built_in(group, api, resource["kind"]):
        return [(_kubernetes(version, name), resource)]
    return [
        (_custom(f"{group}_{api}_{resource['kind']}"), resource),
        (_kubernetes(version, _META), resource["metadata"]),
    ]


def _built_in(group: str, api: str, kind: str) -> str | None:
    wanted = f"io.k8s.api.{group.split('.', maxsplit=1)[0] or 'core'}.{api}.{kind}"
    return wanted if wanted in KINDS else None


@cache
def _kubernetes(version: str, name: str) -> Draft202012Validator:
    definitions = json.loads((SCHEMAS / f"kubernetes-{version}.json").read_text())["$defs"]
    return Draft202012Validator({"$defs": definitions, "$ref": f"#/$defs/{name}"})


@cache
def _custom(name: str) -> Draft202012Validator:
    path = SCHEMAS / f"{name}.json"
    if not path.exists():
        raise KeyError(f"no schema for {name}: see tests/unit/kubernetes/schemas/README.md")
    schema = _strict(json.loads(path.read_text()))
    schema["properties"]["metadata"] = {"type": "object"}  # is validated by itself
    return Draft202012Validator(schema)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A custom resource's schema, with every object closed whose fields it lists."""
    closed = dict(schema)
    if "properties" in schema:
        closed["properties"] = {name: _strict(part) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        closed["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _strict(schema["additionalProperties"])
    elif schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed
