"""Waiting until a pipeline has worked off all that was produced, and drawing up its account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from services.cli import topic_counts
from services.cli.account import Account, account, books, stage_totals
from services.cli.positions import Checkpoints, offsets
from services.runtime import clients, topics
from services.runtime.launch import Deployment

_LOOK_EVERY_S = 0.5
_STILL_LOOKS = 3
_ATTEMPTS = 5
Progress = Callable[[Mapping[str, int]], None]


async def wait_settled(deployment: Deployment, within: float, progress: Progress = lambda _: None) -> bool:
    """Wait until nothing is on its way any more: every stage has read what the one before it wrote.

    ``progress`` gets what each equation of the account still lacks. False when ``within`` seconds did not do.
    """
    deadline = time.monotonic() + within
    still, before = 0, None
    async with Checkpoints(deployment) as reader:
        while time.monotonic() < deadline:
            stages = stage_totals(await reader.refresh())
            produced = await offsets_produced(deployment)
            behind = {each.name: each.difference for each in books(stages, produced) if each.difference}
            progress(behind)
            still = still + 1 if stages == before and not behind else 0
            if still >= _STILL_LOOKS:
                return True
            before = stages
            await asyncio.sleep(_LOOK_EVERY_S)
    return False


async def take_account(deployment: Deployment, *, count: bool = True) -> Account:
    """The account as the checkpoints have it now; with ``count``, checked against the topics, record by record.

    While records are on their way the account does not balance: :func:`wait_settled` first.
    """
    async with Checkpoints(deployment) as reader:
        stages = stage_totals(await reader.refresh())
        for _ in range(_ATTEMPTS):
            produced = await _produced(deployment, stages["clean"])
            found = await topic_counts.count(deployment) if count else None
            after = stage_totals(await reader.refresh())
            if after == stages:
                break
            stages = after
        return account(deployment.name, stages, produced, found)


async def offsets_produced(deployment: Deployment) -> dict[str, int]:
    """What the raw topics' offsets say was produced: a topic of ours from offset 0 on, a producer's own from its first.

    Transaction markers of a transactional producer count too; :func:`take_account` counts records where they matter.
    """
    raw = await _raw_partitions(deployment)
    places = {TopicPartition(topic, p) for topic, partitions in raw.items() for p in range(partitions)}
    first, last = await offsets(deployment.settings, places)
    made: dict[str, int] = {}
    for kind, topic, foreign in _raw(deployment):
        made[kind] = sum(
            last[place] - (first[place] if foreign else 0)
            for place in (TopicPartition(topic, p) for p in range(raw[topic]))
        )
    return made


def _raw(deployment: Deployment) -> list[tuple[str, str, bool]]:
    spec = deployment.spec
    return [
        ("events", deployment.events_topic, spec.event.topic is not None),
        ("labels", deployment.labels_topic, spec.label.topic is not None),
    ]


async def _raw_partitions(deployment: Deployment) -> dict[str, int]:
    async with clients.admin(deployment.settings) as admin:
        return await topics.partition_counts(admin, {topic for _, topic, _ in _raw(deployment)})


async def _produced(deployment: Deployment, clean: Mapping[str, int]) -> dict[str, int]:
    """By offsets; where these say otherwise than cleaning, by counting what is there."""
    produced = await offsets_produced(deployment)
    for kind, topic, _ in _raw(deployment):
        if produced[kind] != clean.get(f"{kind}_in", 0):
            partitions = (await _raw_partitions(deployment))[topic]
            first, _ = await offsets(deployment.settings, [TopicPartition(topic, p) for p in range(partitions)])
            if not any(first.values()):
                produced[kind] = await topic_counts.committed(deployment, topic, range(partitions))
    return produced
