"""Who may do what in Kafka: the access control lists that follow from the topic table.

A role is a service, the registry, or people of the table: ``producers``, ``consumers``, ``operators``. Each gets what the
table says and no more. A service also describes every topic of its pipeline, since it checks their shape at its start.
Topics are created and deleted by operators alone.

Nobody needs a right on the cluster: since Kafka 2.8 who may write to a topic may do so idempotently (KIP-679).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from schemas.topics import SERVICES, Topic

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs"]

ROLES = (*SERVICES, "registry", "producers", "consumers", "operators")


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a role may do with resources of one kind; ``prefixed``: with all whose names begin so."""

    role: str
    resource: Resource
    names: tuple[str, ...]
    operations: tuple[Operation, ...]
    prefixed: bool = False


def grants(pipeline: str, table: Sequence[Topic]) -> list[Grant]:
    """All that the roles of a pipeline need; a producer's own raw topics stand in ``table`` under their own names.

    Names of pipelines have no dots, so that what begins with ``<pipeline>.`` is this pipeline's alone.
    """
    return [grant for role in ROLES for grant in of_role(role, pipeline, table)]


def of_role(role: str, pipeline: str, table: Sequence[Topic]) -> Iterator[Grant]:
    """What one role needs."""
    if role == "operators":
        yield from _operators(pipeline, table)
        return
    if role in SERVICES:
        yield from _described(role, pipeline, table)
    read = tuple(topic.name for topic in table if role in topic.read_by)
    written = tuple(topic.name for topic in table if role in topic.written_by)
    if read:
        yield Grant(role=role, resource="topic", names=read, operations=("Read",))
    if written:
        yield Grant(role=role, resource="topic", names=written, operations=("Write",))
    if role in SERVICES:
        own = (f"{pipeline}.{role}.",)
        yield Grant(role=role, resource="group", names=own, operations=("Read",), prefixed=True)
        yield Grant(role=role, resource="transactional-id", names=own, operations=("Write",), prefixed=True)
    if role == "registry":
        yield Grant(role=role, resource="topic", names=written, operations=("DescribeConfigs",))
        yield Grant(
            role=role, resource="transactional-id", names=("rivermill.registry.",), operations=("Write",), prefixed=True
        )
    if role == "consumers":
        groups = (f"{pipeline}.consumers.",)
        yield Grant(role=role, resource="group", names=groups, operations=("Read",), prefixed=True)


def _described(role: str, pipeline: str, table: Sequence[Topic]) -> Iterator[Grant]:
    """The shape of all topics, checked at a service's start."""
    prefix = f"{pipeline}."
    shape: tuple[Operation, ...] = ("Describe", "DescribeConfigs")
    yield Grant(role=role, resource="topic", names=(prefix,), operations=shape, prefixed=True)
    foreign = tuple(topic.name for topic in table if not topic.name.startswith(prefix))
    if foreign:
        yield Grant(role=role, resource="topic", names=foreign, operations=shape)


def _operators(pipeline: str, table: Sequence[Topic]) -> Iterator[Grant]:
    """``rivermill topics``, ``status``, ``tail``, ``deadletter`` and ``reset``: look at all, write nothing."""
    prefix = f"{pipeline}."
    every: tuple[Operation, ...] = ("Create", "Delete", "DescribeConfigs", "Read")
    yield Grant(role="operators", resource="topic", names=(prefix,), operations=every, prefixed=True)
    foreign = tuple(topic.name for topic in table if not topic.name.startswith(prefix))
    if foreign:
        looked: tuple[Operation, ...] = ("DescribeConfigs", "Read")
        yield Grant(role="operators", resource="topic", names=foreign, operations=looked)
    groups: tuple[Operation, ...] = ("Delete", "Describe")
    yield Grant(role="operators", resource="group", names=(prefix,), operations=groups, prefixed=True)
