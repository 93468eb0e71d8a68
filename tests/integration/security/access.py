"""Access control lists as `rivermill topics --acls` has them, made and taken away on a real broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest_v1, DeleteAclsRequest_v1, DescribeAclsRequest
from aiokafka.protocol.api import Request

from services.cli.access_lists import Acl, acls
from services.runtime import clients
from services.runtime.launch import Deployment
from services.runtime.settings import Settings, from_environment
from tests.integration.pipelines import KEY, until
from tests.integration.security.secured import name_of

PRINCIPAL = f"User:{name_of('{role}')}"
_RESOURCES = {"topic": 2, "group": 3, "transactional-id": 5}
_PATTERNS = {"literal": 3, "prefixed": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3
_ANY = 1


class _Added(Request[CreateAclsRequest_v1]):
    """One request with any number of entries: aiokafka's own has one."""

    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, entries: list[Any]) -> None:
        self._entries = entries

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._entries)


class _Removed(Request[DeleteAclsRequest_v1]):
    """As above."""

    API_KEY = DeleteAclsRequest_v1.API_KEY

    def __init__(self, entries: list[Any]) -> None:
        self._entries = entries

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._entries)


def _entries(listed: Iterable[Acl]) -> list[Any]:
    return [
        (_RESOURCES[acl.resource], acl.name, _PATTERNS[acl.pattern], acl.principal, "*", _OPERATIONS[it], _ALLOW)
        for acl in listed
        for it in acl.operations
    ]


def printed(deployment: Deployment) -> list[Acl]:
    """What `rivermill topics --acls --json` prints for these principals."""
    return list(acls(deployment.grants(), PRINCIPAL))


async def _in_force(admin: AIOKafkaAdminClient) -> set[tuple[Any, ...]]:
    """The entries by which the broker judges now."""
    answer: Any = await admin._send_request(DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY))
    assert not answer.error_code, answer
    return {(*resource, *entry) for *resource, listed in answer.resources for entry in listed}


async def allow(superuser: Settings, entries: Iterable[Acl]) -> None:
    """Add these entries to the lists, and wait until the broker goes by them: that they are kept is told before that."""
    added = _entries(entries)
    async with clients.admin(superuser) as admin:
        answer: Any = await admin._send_request(_Added(added))
        assert not [told for told in answer.creation_responses if told[0]], answer

        async def heeded() -> bool:
            return set(added) <= await _in_force(admin)

        await until(heeded, "the access lists to be in force")


async def forbid(superuser: Settings, entries: Iterable[Acl]) -> None:
    """Take these entries from the lists, and wait until the broker does not go by them any more."""
    removed = _entries(entries)
    async with clients.admin(superuser) as admin:
        answer: Any = await admin._send_request(_Removed(removed))
        assert all(matching and not code for code, _, matching in answer.filter_responses), answer

        async def heeded() -> bool:
            return not set(removed) & await _in_force(admin)

        await until(heeded, "the access lists to be in force no more")


def reached(deployment: Deployment, env: Mapping[str, str]) -> Deployment:
    """The same pipeline for clients with this environment."""
    registry = deployment.settings.registry_url
    settings = from_environment({"RIVERMILL_REGISTRY_URL": registry, "RIVERMILL_SIGNING_KEY": KEY, **env})
    return Deployment(deployment.spec, settings)
