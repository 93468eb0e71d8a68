"""``rivermill topics`` and ``rivermill reset``: the topics of a pipeline, made, checked, deleted."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest
from cyclopts import Parameter

from schemas.topics import SERVICES, Topic
from services.cli import access_lists, target
from services.cli.positions import STAGES
from services.cli.terminal import SECONDS_A_DAY, console, print_json, table
from services.runtime import clients
from services.runtime.launch import Deployment
from services.runtime.settings import Settings, SettingsError
from services.runtime.topics import partition_counts

_GROUP_NOT_FOUND, _NON_EMPTY_GROUP = 69, 68
_TOPICS_REMAIN_S, _MEMBERS_REMAIN_S, _LOOK_EVERY_S = 15.0, 10.0, 0.5


class _Group(NamedTuple):
    """A consumer group: of lanes, whose static members are remembered for six seconds after they stop, or of the
    control topics, one a process start: what a killed process leaves of it expires by itself.
    """

    name: str
    lanes: bool


def topics(
    pipeline: target.Pipeline = None,
    *,
    create: Annotated[bool, Parameter(negative="", help="Create what is missing and check the shape of all.")] = False,
    acls: Annotated[
        bool, Parameter(negative="", help="Print what Kafka must allow each role, as commands for kafka-acls.sh.")
    ] = False,
    principal: Annotated[
        str, Parameter(help="With --acls: who a role is to Kafka; {role} becomes cleaning, scoring, producers, ...")
    ] = access_lists.PRINCIPAL,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """List the topics of a pipeline: partitions, how long records stay, who writes and who reads.

    With `--create` it also makes the missing ones and fails when one has the wrong shape, which is what every service
    does when it starts. With `--acls` it prints the access that the table gives each service, producers, consumers and
    operators, and changes nothing.

    Try `rivermill topics examples/flights/pipeline.toml --create --broker 127.0.0.1:9092`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    if acls:
        granted = deployment.grants()
        if json:
            print_json(list(access_lists.acls(granted, principal)))
        else:
            print(*access_lists.commands(granted, principal, deployment.settings.broker), sep="\n")
        return 0
    if create:
        asyncio.run(deployment.ensure_topics())
    if json:
        print_json(deployment.table())
        return 0
    rows = [
        (each.name, each.partitions, _kept(each), each.key, " ".join(each.written_by), " ".join(each.read_by))
        for each in deployment.table()
    ]
    own = [topic for topic in (deployment.spec.event.topic, deployment.spec.label.topic) if topic]
    console().print(table("", ("topic", "parts", "kept", "key", "written by", "read by"), rows, right=(1,)))
    for topic in own:
        console().print(f"{topic}: a producer's own, never created, changed or deleted by Rivermill")
    if create:
        console().print(f"All {len(rows)} exist on {deployment.settings.broker} and have the right shape.")
    return 0


def reset(
    pipeline: target.Pipeline = None,
    *,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Delete everything a pipeline has in Kafka: its topics, its state, its groups. Asks first.

    A producer's own raw topics, named in the pipeline file, are left alone. Versions stay in the registry. Stop the
    services first: while one runs, nothing is deleted.

    Try `rivermill reset examples/flights/pipeline.toml`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    return asyncio.run(_reset(deployment, yes=yes))


async def _reset(deployment: Deployment, *, yes: bool) -> int:
    async with clients.admin(deployment.settings) as admin:
        names = sorted(await partition_counts(admin, [topic.name for topic in deployment.table()]))
        groups = await _groups(admin, deployment.name)
        if not names and not groups:
            print(f"{deployment.name} has nothing on {deployment.settings.broker}")
            return 0
        if not yes and not _agreed(deployment, names):
            print("Nothing was deleted.")
            return 1
        await _delete(admin, names, groups)
    print(f"Deleted {len(names)} topics and {len(groups)} groups of {deployment.name}.")
    return 0


async def _groups(admin: AIOKafkaAdminClient, pipeline: str) -> list[_Group]:
    """The consumer groups of the pipeline's services, those of lanes first."""
    ours = tuple(f"{pipeline}.{service}." for service in SERVICES)
    lanes = {f"{pipeline}.{service}.{stage}" for stage, service in STAGES.items()}
    names = [group for group, *_ in await admin.list_consumer_groups() if group.startswith(ours)]
    return sorted((_Group(name, name in lanes) for name in names), key=lambda group: not group.lanes)


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> int:
    coordinator = await admin.find_coordinator(group)
    answer: Any = await admin._send_request(DeleteGroupsRequest([group]), coordinator)
    return int(answer.results[0][1])


def _agreed(deployment: Deployment, names: Sequence[str]) -> bool:
    print(f"This deletes from {deployment.settings.broker}, for ever:")
    for name in names:
        print(f"  {name}")
    if not sys.stdin.isatty():
        print("Not a terminal: pass --yes to delete without being asked.")
        return False
    return input(f"Type the pipeline's name ({deployment.name}) to go on: ").strip() == deployment.name


async def _delete(admin: AIOKafkaAdminClient, names: Sequence[str], groups: Sequence[_Group]) -> None:
    deadline = time.monotonic() + _MEMBERS_REMAIN_S
    for group in groups:  # before the topics: a group with members says that services run
        while (code := await _delete_group(admin, group.name)) == _NON_EMPTY_GROUP and group.lanes:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"services of this pipeline are running (group {group.name} has members): stop them and try again; "
                    "no topic was deleted"
                )
            await asyncio.sleep(_LOOK_EVERY_S)
        if code not in (0, _GROUP_NOT_FOUND, _NON_EMPTY_GROUP):
            raise SettingsError(
                f"the group {group.name} could not be deleted (Kafka error {code}); no topic was deleted"
            )
    if names:
        answer: Any = await admin.delete_topics(list(names))
        failed = [f"{topic} (Kafka error {code})" for topic, code, *_ in answer.topic_error_codes if code]
        if failed:
            raise SettingsError(f"these topics could not be deleted: {', '.join(failed)}")
        async with asyncio.timeout(_TOPICS_REMAIN_S):
            while await partition_counts(admin, names):  # noqa: ASYNC110 - it happens in Kafka
                await asyncio.sleep(0.1)


def _kept(topic: Topic) -> str:
    policy, retention = topic.config["cleanup.policy"], int(topic.config.get("retention.ms", "-1"))
    kept = "for ever" if retention < 0 else _days(retention / 1000)
    return {"compact": "newest by key", "compact,delete": f"newest by key, {kept}"}.get(policy, kept)


def _days(seconds: float) -> str:
    return f"{seconds / SECONDS_A_DAY:g} days" if seconds >= SECONDS_A_DAY else f"{seconds / 3600:g} h"
