"""Creating the topics of a pipeline and checking the shape of those that exist."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    LeaderNotAvailableError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from schemas.topics import DEADLETTER_EXTRA_BYTES, Topic
from services.runtime import clients
from services.runtime.access import RefusedError
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings, SettingsError

_TOPIC_ALREADY_EXISTS = 36
_REFUSED = (TopicAuthorizationFailedError.errno, ClusterAuthorizationFailedError.errno)
_SIZE = "max.message.bytes"
_LOOK_EVERY_S = 0.1
_CHECKED = ("cleanup.policy", "message.timestamp.type")


class TopicError(SettingsError):
    """A topic that cannot be created or has the wrong shape: which, what is wrong, what to do."""


async def partition_counts(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Partitions by topic; topics that do not exist are left out. An error that passes is raised: it may exist."""
    described = await admin.describe_topics(list(names))
    codes = {topic["topic"]: topic["error_code"] for topic in described}
    _require_allowed("Describe", codes)
    for name, code in codes.items():
        if code != UnknownTopicOrPartitionError.errno and _passes(code):
            raise for_code(code)(name)
    return {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}


async def topic_configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Configuration by topic. What Kafka cannot tell is an error: a topic without a configuration would pass every check."""
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    resources = [resource for response in responses for resource in response.resources]
    codes = {resource[3]: resource[0] for resource in resources}
    _require_allowed("DescribeConfigs", codes)
    for name, code in codes.items():
        if code:
            raise for_code(code)(name)
    return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for resource in resources}


def _require_allowed(operation: str, codes: Mapping[str, int]) -> None:
    """RefusedError for topics with a Kafka error that says that the operation is not allowed to us."""
    lacking = [f"{operation} on topic {name}" for name, code in codes.items() if code in _REFUSED]
    if lacking:
        raise RefusedError(lacking)


async def message_limit(settings: Settings, topic: str) -> int:
    """The topic's ``max.message.bytes``."""
    async with clients.admin(settings) as admin:
        return int((await topic_configs(admin, [topic]))[topic][_SIZE])


async def ensure(settings: Settings, table: Sequence[Topic], foreign: Sequence[str] = ()) -> dict[str, int]:
    """Create what is missing of ``table``, check what exists, and return the partitions of every topic by name.

    ``foreign`` are a producer's own raw topics: they must exist, with any number of partitions; the dead-letter topic is
    made to take the largest of their messages.
    """
    async with clients.admin(settings) as admin:
        counts = await partition_counts(admin, [*(topic.name for topic in table), *foreign])
        _require_foreign(settings, counts, foreign)
        largest = await _largest_message(admin, foreign)
        if missing := [topic for topic in table if topic.name not in counts]:
            await _create(admin, missing, settings.replication, largest)
            counts |= await _counts_of_new(admin, [topic.name for topic in missing])
        _check(table, counts, await topic_configs(admin, [topic.name for topic in table]))
        return counts


async def _counts_of_new(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Partitions of topics that we, or somebody else, have just made: brokers may learn of them seconds later.

    TimeoutError when they do not for longer than any request may take.
    """
    async with asyncio.timeout(clients.ADMIN_ANSWER_MS / 1000):
        while True:
            with suppress(LeaderNotAvailableError):
                if len(counts := await partition_counts(admin, names)) == len(names):
                    return counts
            await asyncio.sleep(_LOOK_EVERY_S)


def _require_foreign(settings: Settings, counts: dict[str, int], foreign: Sequence[str]) -> None:
    for name in foreign:
        if name not in counts:
            raise TopicError(
                f"the topic {name!r} that the pipeline file names does not exist on {settings.broker}: create it, correct "
                "[event] topic or [label] topic, or leave the key out to use a topic that Rivermill creates"
            )


async def _largest_message(admin: AIOKafkaAdminClient, foreign: Sequence[str]) -> int:
    configs = await topic_configs(admin, foreign)
    return max((int(config.get(_SIZE, "0")) for config in configs.values()), default=0)


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[Topic], replication: int, largest: int) -> None:
    new = [
        NewTopic(
            name=topic.name,
            num_partitions=topic.partitions,
            replication_factor=replication,
            topic_configs=_config(topic, largest),
        )
        for topic in missing
    ]
    response = await admin.create_topics(new)
    _require_created({error[0]: error[1] for error in response.topic_errors})
    for error in response.topic_errors:
        name, code, *rest = error
        if code not in (0, _TOPIC_ALREADY_EXISTS):
            raise _not_created(name, code, rest[0] if rest else "")


def _passes(code: int) -> bool:
    return bool(for_code(code).retriable)


def _not_created(name: str, code: int, why: str) -> OperatorError:
    """What only the user can put right, or what another start may find gone, as while a controller is being chosen."""
    if _passes(code):
        return clients.BrokerAwayError(f"the topic {name!r} cannot be created now (Kafka error {code}: {why})")
    return TopicError(f"the topic {name!r} cannot be created (Kafka error {code}: {why})")


def misshapen(topic: Topic, counts: dict[str, int], configs: dict[str, dict[str, Any]]) -> str:
    """What is wrong with the shape of a topic that exists, and what to do; nothing if it is right."""
    try:
        _check([topic], counts, configs)
    except TopicError as error:
        return str(error)
    return ""


def _require_created(codes: Mapping[str, int]) -> None:
    refused = sorted(name for name, code in codes.items() if code in _REFUSED)
    if refused:
        raise TopicError(
            f"the topics {', '.join(refused)} do not exist, and Kafka does not let us make them: let an operator run "
            "`rivermill topics --create`, or give us Create on them"
        )


def _config(topic: Topic, largest: int) -> dict[str, str]:
    if topic.stream in ("deadletter", "rekeyed") and largest:
        least = max(int(topic.config[_SIZE]), largest + DEADLETTER_EXTRA_BYTES)
        return {**topic.config, _SIZE: str(least)}
    return topic.config


def _check_size(topic: Topic, config: dict[str, Any]) -> None:
    """A batch of ours is refused whole by a topic that takes less than it may have; producers know their own."""
    written = int(topic.config.get(_SIZE, "0"))
    if (taken := int(config.get(_SIZE, written))) < written and "producers" not in topic.written_by:
        raise TopicError(
            f"the topic {topic.name!r} takes messages of {taken} bytes, less than the {written} that are written to it: "
            f"raise its {_SIZE} with kafka-configs.sh"
        )


def _check(present: Sequence[Topic], counts: dict[str, int], configs: dict[str, dict[str, Any]]) -> None:
    for topic in present:
        if counts[topic.name] != topic.partitions:
            raise TopicError(
                f"the topic {topic.name!r} has {counts[topic.name]} partitions, the pipeline file wants "
                f"{topic.partitions}: the number is fixed for the life of a pipeline name (records are placed by it). Set "
                f"[topics] partitions = {counts[topic.name]}, or use a new pipeline name"
            )
        config = configs.get(topic.name, {})
        kept = int(config.get("retention.ms", "-1"))
        if 0 <= kept < topic.least_retention_ms:
            raise TopicError(
                f"the topic {topic.name!r} keeps records for {kept} ms, less than the label horizon of "
                f"{topic.least_retention_ms} ms: what waits for its label could not be restored after a restart. Raise "
                "its retention.ms, or shorten [label] horizon"
            )
        _check_size(topic, config)
        for key in _CHECKED:
            wanted, found = topic.config.get(key), config.get(key)
            if wanted and found and set(wanted.split(",")) != set(found.split(",")):
                raise TopicError(
                    f"the topic {topic.name!r} has {key}={found}, expected {wanted}: change it with kafka-configs.sh, or "
                    "delete the topic if nothing in it is needed"
                )
