"""What the doctor looks at in Kafka: brokers, topics, groups, whose access this user has, and the broker's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import SERVICES
from services.cli.doctor import Finding, Patient, bounded, look, well, wrong
from services.cli.positions import STAGES
from services.runtime import clients, groups, rights
from services.runtime import topics as kafka_topics
from services.runtime.access import AccessError
from services.runtime.launch import Deployment

_BROKER, _TOPICS, _GROUPS, _ACCESS, _CLOCK = "broker", "topics", "groups", "access", "broker's clock"
_TRANSACTIONS = {22: "InitProducerId", 24: "AddPartitionsToTxn", 26: "EndTxn", 28: "TxnOffsetCommit"}
"""Requests by their keys in Kafka's protocol, without which nothing is exactly once."""
_FETCH = 1
_SHOWN = 5
_AHEAD_S = 1.0
_WAIT_MS = 500


async def kafka(patient: Patient) -> list[Finding]:
    """Everything of Kafka; of a broker that cannot be used nothing else is asked."""
    found = await bounded(_BROKER, _broker(patient))
    deployment = patient.deployment
    if deployment is None or any(finding.state == "wrong" for finding in found):
        return found
    looks = {_TOPICS: _topics, _GROUPS: _groups, _ACCESS: _access, _CLOCK: _clock}
    more = await asyncio.gather(*(bounded(what, looking(deployment)) for what, looking in looks.items()))
    return found + [finding for each in more for finding in each]


async def _broker(patient: Patient) -> list[Finding]:
    async with clients.admin(patient.settings) as admin:
        cluster = await admin.describe_cluster()
        nodes = [broker["node_id"] for broker in cluster["brokers"]]
        spoken: dict[int, tuple[int, int]] = (await admin._client._get_conn(nodes[0]))._versions
    lacking = [name for key, name in _TRANSACTIONS.items() if key not in spoken]
    if lacking:
        return wrong(_BROKER, f"does not know {', '.join(lacking)}", "use Apache Kafka 4.0 or newer, or one compatible")
    told = f"{patient.settings.broker} answers: {len(nodes)} in the cluster, Fetch up to v{spoken[_FETCH][1]}, transactions"
    if len(nodes) < patient.settings.replication:
        way_out = "set RIVERMILL_REPLICATION to what there is, or add brokers"
        return wrong(_BROKER, f"{told}; RIVERMILL_REPLICATION is {patient.settings.replication}", way_out)
    return well(_BROKER, told)


async def _described(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Any]:
    """Metadata of the topics that exist and may be seen. All are listed: to ask for one by name could make it."""
    wanted = set(names)
    return {it["topic"]: it for it in await admin.describe_topics() if it["topic"] in wanted and not it["error_code"]}


async def _topics(deployment: Deployment) -> list[Finding]:
    table = deployment.table()
    raw = [topic for topic in (deployment.spec.event.topic, deployment.spec.label.topic) if topic]
    async with clients.admin(deployment.settings) as admin:
        described = await _described(admin, [*(topic.name for topic in table), *raw])
        configs = await kafka_topics.topic_configs(admin, list(described))
    counts = {name: len(found["partitions"]) for name, found in described.items()}
    present = [topic for topic in table if topic.name in described]
    told = [told for topic in present if (told := kafka_topics.misshapen(topic, counts, configs))]
    found = [Finding(_TOPICS, "wrong", each) for each in told]
    for name, metadata in described.items():
        found += _unsafe(name, metadata["partitions"], int(configs.get(name, {}).get("min.insync.replicas", "1")))
    missing = [topic.name for topic in table if topic.name not in described]
    missing += [name for name in raw if name not in described]
    found += _missing(missing, len(table) + len(raw), set(raw))
    return found or well(_TOPICS, f"all {len(table) + len(raw)} are there and have the right shape")


def _missing(missing: Sequence[str], of: int, raw: set[str]) -> list[Finding]:
    if not missing:
        return []
    if len(missing) == of:
        way_out = "services make them at their start; or `rivermill topics PIPELINE.toml --create`"
        return look(_TOPICS, f"none of the {of} is there, or may be seen by this user", way_out)
    way_out = "make your own raw topics first; " if raw & set(missing) else ""
    way_out += "`rivermill topics PIPELINE.toml --create` makes the others, but what was in them is lost"
    return wrong(_TOPICS, f"{len(missing)} are not there, or may not be seen by this user: {_some(missing)}", way_out)


def _unsafe(name: str, partitions: Sequence[dict[str, Any]], least: int) -> list[Finding]:
    leaderless = [str(it["partition"]) for it in partitions if it["leader"] < 0]
    if leaderless:
        way_out = "start the brokers that hold them"
        return wrong(_TOPICS, f"{name} has partitions without a leader: {_some(leaderless)}", way_out)
    short = [str(it["partition"]) for it in partitions if len(it["isr"]) < least]
    if short:
        told = f"{name} has fewer in-sync replicas than min.insync.replicas={least} in partitions {_some(short)}"
        return wrong(_TOPICS, told, "start the brokers that hold the others: until then nothing can be written")
    behind = [str(it["partition"]) for it in partitions if len(it["isr"]) < len(it["replicas"])]
    if behind:
        told = f"{name} has replicas that are not in sync in partitions {_some(behind)}"
        return look(_TOPICS, told, "look at the brokers that hold them")
    return []


async def _groups(deployment: Deployment) -> list[Finding]:
    names = {f"{deployment.name}.{service}.{stage}": f"{service} ({stage})" for stage, service in STAGES.items()}
    async with clients.admin(deployment.settings) as admin:
        found = await groups.described(admin, list(names))
    if hidden := [name for name in names if name not in found]:
        return look(_GROUPS, f"this user may not see {_some(hidden)}", "grant DESCRIBE on them to see who runs")
    if absent := [told for name, told in names.items() if not found[name].members]:
        return look(_GROUPS, f"nobody runs {', '.join(absent)}", "start these services, if they are meant to run")
    if moving := [name for name in names if found[name].state != "Stable"]:
        return look(_GROUPS, f"lanes are being assigned in {_some(moving)}", "look again in some seconds")
    members = sum(group.members for group in found.values())
    return well(_GROUPS, f"all {len(names)} stages have members: {members} in all")


async def _access(deployment: Deployment) -> list[Finding]:
    """Which services' access this user has: Kafka is asked, nothing is tried."""
    grants = deployment.grants()
    has: list[str] = []
    lacks: list[str] = []
    for role in SERVICES:
        try:
            await rights.require(deployment.settings, [grant for grant in grants if grant.role == role])
        except AccessError as error:
            lacks.append(f"for {role}: {error}")
        else:
            has.append(role)
    if not has:
        return look(_ACCESS, f"this user has no service's access; {lacks[0]}", "or run this as the service's user")
    only = f", not {len(lacks)} other services'" if lacks else ""
    return well(_ACCESS, f"this user has the access that {', '.join(has)} needs{only}")


async def _clock(deployment: Deployment) -> list[Finding]:
    """The stamps that the broker gave the newest raw events: one that lies ahead of us shows that a clock is wrong."""
    topic = deployment.events_topic
    async with clients.admin(deployment.settings) as admin:
        described = await _described(admin, [topic])
        configs = await kafka_topics.topic_configs(admin, list(described))
    if configs.get(topic, {}).get("message.timestamp.type") != "LogAppendTime":
        return well(_CLOCK, f"not seen: {topic} is not there, or keeps its producers' stamps")
    newest = await _newest_stamp(deployment, topic, len(described[topic]["partitions"]))
    ahead = 0.0 if newest is None else newest / 1000 - time.time()
    if ahead > _AHEAD_S:
        return look(_CLOCK, f"{ahead:,.1f} s ahead of this machine's", "let NTP set both")
    return well(_CLOCK, "not seen: no event lies there" if newest is None else "not ahead of this machine's")


async def _newest_stamp(deployment: Deployment, topic: str, partitions: int) -> int | None:
    places = [TopicPartition(topic, number) for number in range(partitions)]
    newest: int | None = None
    async with clients.reading(deployment.settings, wait_ms=_WAIT_MS // 2) as consumer:
        first, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        filled = [place for place in places if ends[place] > first[place]]
        consumer.assign(filled)
        for place in filled:
            consumer.seek(place, ends[place] - 1)
        while not all([await consumer.position(place) >= ends[place] for place in filled]):
            for records in (await consumer.getmany(timeout_ms=_WAIT_MS)).values():
                newest = max(newest or 0, *(record.timestamp for record in records))
    return newest


def _some(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
