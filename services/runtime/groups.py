"""Who is in a consumer group: asked in a version of the request whose answer aiokafka reads.

Its own ``describe_consumer_groups`` asks in version 3 and reads the answer as version 2's: of two groups that share a
coordinator the second is garbage, and the connection is closed for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.admin import DescribeGroupsRequest_v1
from aiokafka.protocol.api import Request


class Group(NamedTuple):
    """What a coordinator says of a group; ``Dead`` is one that it does not know."""

    state: str
    members: int


class _Asked(Request[DescribeGroupsRequest_v1]):
    API_KEY = 15

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: type[DescribeGroupsRequest_v1]) -> DescribeGroupsRequest_v1:
        return request_struct_class(self._names)


async def described(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Group]:
    """The groups by name; those that this client may not see are left out."""
    by_node: dict[int, list[str]] = defaultdict(list)
    for name in names:
        try:
            by_node[await admin.find_coordinator(name)].append(name)
        except GroupAuthorizationFailedError:
            continue
    found: dict[str, Group] = {}
    for node, there in by_node.items():
        answer: Any = await admin._send_request(_Asked(there), node)
        for code, name, state, _, _, members in answer.groups:
            if code != GroupAuthorizationFailedError.errno:
                found[name] = Group(state, len(members))
    return found
