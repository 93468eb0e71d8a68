"""Counting what lies in a pipeline's topics, record by committed record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiokafka import TopicPartition

from schemas import deadletter
from services.cli.account import Found
from services.cli.positions import offsets
from services.runtime import readback
from services.runtime.launch import Deployment

_COUNTED = (
    "rekeyed", "events.clean", "labels.clean", "predictions", "outcomes", "examples", "summaries", "deadletter",
)  # fmt: skip


class _Outcome(msgspec.Struct):
    state: str


class _Example(msgspec.Struct):
    kind: str


_STATE = msgspec.json.Decoder(_Outcome).decode
_KIND = msgspec.json.Decoder(_Example).decode


async def count(deployment: Deployment) -> Found:
    """Count the records of every topic that the account is checked against; topics cut by retention are named."""
    kinds: dict[str, Callable[[Any], str]] = {
        "outcomes": lambda record: f"outcomes/{_STATE(record.value).state}",
        "examples": lambda record: f"examples/{_KIND(record.value).kind}",
        "deadletter": lambda record: _letter(deployment, record),
    }
    table = {topic.stream: topic for topic in deployment.table()}
    counts: Counter[str] = Counter()
    for name in _COUNTED:
        kind = kinds.get(name)
        for partition in range(table[name].partitions):
            async for batch in readback.everything(deployment.settings, table[name].name, partition):
                counts.update(map(kind, batch) if kind else {name: len(batch)})
    places = [TopicPartition(table[name].name, p) for name in _COUNTED for p in range(table[name].partitions)]
    first, _ = await offsets(deployment.settings, places)  # last: retention may have cut a topic while it was counted
    cut = {
        name for name in _COUNTED for p in range(table[name].partitions) if first[TopicPartition(table[name].name, p)]
    }
    return Found(dict(counts), frozenset(cut))


async def committed(deployment: Deployment, topic: str, partitions: Iterable[int]) -> int:
    """How many committed records lie in these partitions."""
    return sum(
        [
            len(batch)
            for partition in partitions
            async for batch in readback.everything(deployment.settings, topic, partition)
        ]
    )


def _letter(deployment: Deployment, record: Any) -> str:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    stage, topic = headers.get(deadletter.STAGE, "?"), headers.get(deadletter.TOPIC, "")
    if stage == "clean":
        return f"deadletter/clean/{'labels' if topic == deployment.labels_topic else 'events'}"
    if stage == "join":
        return f"deadletter/join/{'predictions' if topic == deployment.topic('predictions') else 'labels'}"
    return f"deadletter/{stage}"
