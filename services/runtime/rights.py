"""What Kafka's access control lists let this process do: asked at its start, before anything waits in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from schemas.acls import Grant
from services.runtime import clients
from services.runtime.access import RefusedError
from services.runtime.settings import Settings

_BITS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
_UNTOLD = -(2**31)
"""What a broker says of rights that it does not tell."""
_COORDINATORS = {"group": 0, "transactional-id": 1}
_REFUSED = (GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed)


class _Answer(Response):
    """Metadata, version 8, the first to tell what the client may do with each topic; aiokafka knows five."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                        ("replicas", Array(Int32)), ("in_sync", Array(Int32)), ("offline", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("cluster_operations", Int32),
    )  # fmt: skip


class _Question(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", Array(String())), ("create", Boolean), ("cluster_operations", Boolean), ("operations", Boolean)
    )


class _Asked(Request[_Question]):
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_Question]) -> _Question:
        return request_struct_class(self._topics, False, False, True)


async def on_topics(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, frozenset[str]]:
    """What this client may do with each topic that exists; those of which a broker before Kafka 2.3 tells nothing are
    left out.
    """
    try:
        answer: Any = await admin._send_request(_Asked(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}
    return {
        name: frozenset(operation for operation, bit in _BITS.items() if bits >> bit & 1)
        for _, name, _, _, bits in answer.topics
        if bits != _UNTOLD
    }


async def require(settings: Settings, needed: Sequence[Grant]) -> None:
    """AccessError names everything of ``needed`` that Kafka does not allow. The shape of all topics has been seen."""
    async with clients.admin(settings) as admin:
        lacking = [*await _topics(admin, needed), *[it async for it in _ids(admin, needed)]]
        if lacking:
            raise RefusedError(lacking)


async def _topics(admin: AIOKafkaAdminClient, needed: Sequence[Grant]) -> list[str]:
    wanted = [
        (operation, name)
        for grant in needed
        if grant.resource == "topic" and not grant.prefixed
        for operation in grant.operations
        for name in grant.names
    ]
    allowed = await on_topics(admin, sorted({name for _, name in wanted}))
    return [f"{operation} on topic {name}" for operation, name in wanted if operation not in allowed.get(name, _BITS)]


async def _ids(admin: AIOKafkaAdminClient, needed: Sequence[Grant]) -> AsyncIterator[str]:
    """Groups and transactional ids: who may read the one or write the other may also ask where they are kept."""
    for grant in needed:
        if grant.resource in _COORDINATORS:
            for name in grant.names:
                try:
                    await admin.find_coordinator(f"{name}any", _COORDINATORS[grant.resource])
                except _REFUSED:
                    yield f"{grant.operations[0]} on {grant.resource} {name}*"
                except KafkaError:  # a coordinator that is only being chosen is no refusal
                    continue
