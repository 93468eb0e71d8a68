"""Where every lane of a pipeline stands, read from its checkpoints, and where the logs end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

import msgspec
from aiokafka import TopicPartition

from schemas.state import Checkpoint
from schemas.topics import SERVICES
from services.runtime import clients
from services.runtime.launch import Deployment
from services.runtime.settings import Settings

_DECODER = msgspec.json.Decoder(Checkpoint)
_FETCH_MS = 200
STAGES = {
    "clean": "cleaning", "score": "scoring", "join": "learner", "train": "learner",
    "summarise": "drift", "detect": "drift",
}  # fmt: skip
"""The stages in the order that a record passes them, and whose they are."""


class Checkpoints:
    """Follows the state topics of a pipeline: an async context manager; each :meth:`refresh` reads only what is new."""

    def __init__(self, deployment: Deployment) -> None:
        self._consumer = clients.reader(deployment.settings)
        self._places = [
            TopicPartition(deployment.topic(f"state.{service}"), partition)
            for service in SERVICES
            for partition in range(deployment.partitions)
        ]
        self._newest: dict[str, bytes] = {}

    async def __aenter__(self) -> Checkpoints:
        await self._consumer.start()
        self._consumer.assign(self._places)
        for place, offset in (await self._consumer.beginning_offsets(self._places)).items():
            self._consumer.seek(place, offset)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def refresh(self) -> list[Checkpoint]:
        """The newest committed checkpoint of every lane that ever ran, in the order that records pass them."""
        ends = await self._consumer.end_offsets(self._places)
        behind = [place for place in self._places if await self._consumer.position(place) < ends[place]]
        while behind:
            for records in (await self._consumer.getmany(*behind, timeout_ms=_FETCH_MS)).values():
                for record in records:
                    if record.key.count(b"/") == 1:  # stage/lane; a lane's own records have longer keys
                        self._newest[record.key.decode()] = record.value
            behind = [place for place in behind if await self._consumer.position(place) < ends[place]]
        found = [_DECODER.decode(value) for value in self._newest.values() if value is not None]
        order = list(STAGES)
        return sorted(found, key=lambda each: (order.index(each.stage), each.lane))


async def checkpoints(deployment: Deployment) -> list[Checkpoint]:
    """The newest committed checkpoint of every lane, once."""
    async with Checkpoints(deployment) as reader:
        return await reader.refresh()


async def offsets(
    settings: Settings, places: Iterable[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """First offset and next offset (the last stable one) of partitions."""
    wanted = list(places)
    consumer = clients.reader(settings)
    await consumer.start()
    try:
        first: dict[TopicPartition, int] = await consumer.beginning_offsets(wanted)
        last: dict[TopicPartition, int] = await consumer.end_offsets(wanted)
        return first, last
    finally:
        await consumer.stop()


def totals(found: Sequence[Checkpoint], stage: str) -> dict[str, int]:
    """The totals of all lanes of a stage, added up."""
    added: dict[str, int] = {}
    for each in found:
        if each.stage == stage:
            for name, total in each.totals.items():
                added[name] = added.get(name, 0) + total
    return added


def starting(totals_of: Mapping[str, int], prefix: str) -> int:
    """The sum of the totals whose names begin with ``prefix``."""
    return sum(total for name, total in totals_of.items() if name.startswith(prefix))
