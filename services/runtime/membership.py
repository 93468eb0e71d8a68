"""Membership of a stage's consumer group: which lanes this process runs, and watching that they do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from math import inf

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from services.runtime import clients, metrics, topics
from services.runtime.assignor import LaneAssignor
from services.runtime.errors import OperatorError
from services.runtime.lane import Lane
from services.runtime.stage import Stage
from services.runtime.transactions import FencedError

_POLL_S = 1.0
_FENCED_GRACE_S = 15.0
_ANSWER_S = 10.0
_OVERTAKEN_S = 2 * clients.HEARTBEAT_MS / 1000
"""How long a fenced lane waits before it is begun once more: by then its other owner has heard what the group decided."""
_AGAIN_S = 60.0
_log = structlog.get_logger()


class LaneLostError(OperatorError):
    """A lane was fenced and no assignment has come since: the process is better started anew."""


class Membership(ConsumerRebalanceListener):
    """Holds the group consumer and the lane tasks of one stage.

    A rebalance stops nothing by itself: the group proposes, transactional ids decide. Lanes that stay run on, lanes
    that leave finish their batch, lanes that come are started.

    ``assigned`` is whether the lanes of an assignment have begun: there may be none.

    Every ``look_every_s`` seconds it tells the lanes where their inputs end; ``answered_at`` (monotonic seconds) is when
    Kafka last answered that.
    """

    def __init__(self, stage: Stage, look_every_s: float = 10.0) -> None:
        self.stage = stage
        self.lanes: dict[int, Lane] = {}
        self.assigned = False
        self.answered_at = time.monotonic()
        self._look_every_s = look_every_s
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._wanted: frozenset[int] = frozenset()
        self._fenced_at: dict[int, float] = {}
        self._taken_back: dict[int, float] = {}
        self._settled = False
        self._ending: set[int] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._warming: asyncio.Task[None] | None = None
        self._gauge = metrics.LANES.labels(stage.name)
        self._fenced = metrics.FENCED.labels(stage.name)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka's signature
        """Note that an assignment will come: it says which lanes end."""
        self._settled = False

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note the lanes; the run loop starts and stops them (aiokafka swallows what is raised here)."""
        places = list(assigned)
        self._consumer.pause(*places)
        self._wanted = frozenset(place.partition for place in places)
        self._fenced_at.clear()
        self._taken_back.clear()
        self._settled = True
        self._wake.set()

    async def run(self) -> None:
        """Join the group and keep its lanes running until :meth:`stop`; raises what ends a lane, fencing aside."""
        stage = self.stage
        slot = stage.settings.slot
        self._consumer = clients.member(
            stage.settings,
            stage.group,
            LaneAssignor(lambda: self.lanes),
            f"{stage.group}.{slot}" if slot else None,
        )
        self._consumer.subscribe(list(stage.inputs), listener=self)
        await self._consumer.start()
        looking = asyncio.create_task(self._look(), name=f"{stage.name} looks where its inputs end")
        try:
            while not self._stopping:
                await self._round(looking)
        finally:
            looking.cancel()
            await self._end_all()
            await self._consumer.stop()

    async def _round(self, looking: asyncio.Task[None]) -> None:
        await self._consumer.getmany(timeout_ms=0)
        self._reconcile()
        woken = asyncio.ensure_future(self._wake.wait())
        waiters = {woken, looking, *self._tasks.values()}
        await asyncio.wait(waiters, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        self._wake.clear()
        if looking.done():
            looking.result()
        self._collect()

    async def _look(self) -> None:
        """Tell the lanes again and again where their inputs end; while Kafka does not answer, they know what they knew."""
        places = [TopicPartition(topic, p) for topic, count in self.stage.counts.items() for p in range(count)]
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):  # it asks for a topic that is gone for ever
                    ends = await self._consumer.end_offsets(places)
            except (KafkaError, TimeoutError) as error:
                _log.warning("cannot ask where the inputs end", stage=self.stage.name, error=repr(error))
                await self._require_inputs()
            else:
                self.answered_at = time.monotonic()
                for number, lane in self.lanes.items():
                    lane.ends = {topic: ends[TopicPartition(topic, number)] for topic in lane.topics}
            await asyncio.sleep(self._look_every_s)

    async def _require_inputs(self) -> None:
        """TopicError if an input, or part of it, is no longer there; that Kafka is away passes by itself."""
        try:
            async with clients.admin(self.stage.settings) as admin:
                found = await topics.partition_counts(admin, self.stage.inputs)
        except OperatorError as error:
            _log.warning("cannot ask whether the inputs are there", stage=self.stage.name, error=str(error))
            return
        for topic, count in self.stage.counts.items():
            if (there := found.get(topic, 0)) < count:
                raise topics.TopicError(
                    f"the topic {topic!r} had {count} partitions and has {there}: it was deleted while {self.stage.name} "
                    "read it. Bring it back as it was; or, to start anew without what was in it, run `rivermill reset`"
                )

    def _reconcile(self) -> None:
        """Start the lanes that came, stop those that left."""
        self._take_back()
        for number in self._wanted - self._tasks.keys() - self._fenced_at.keys():
            lane = Lane(self.stage, number)
            self.lanes[number] = lane
            self._tasks[number] = asyncio.create_task(lane.run(), name=f"{self.stage.name}/{number}")
        for number, lane in self.lanes.items():
            if number not in self._wanted:
                self._end(lane, number)
        self.assigned = self.assigned or self._settled
        if self.assigned and self._warming is None and self.stage.warm and all(it.ready for it in self.lanes.values()):
            self._warming = asyncio.create_task(asyncio.to_thread(self.stage.warm), name=f"{self.stage.name} warms up")
        self._gauge.set(len(self.lanes))
        now = time.monotonic()
        for number, at in self._fenced_at.items():
            if number in self._wanted and now - at > _FENCED_GRACE_S:
                raise LaneLostError(
                    f"lane {self.stage.name}/{number} was fenced {_FENCED_GRACE_S:.0f} s ago and the group has not been "
                    "assigned anew: is another deployment using the same pipeline name?"
                )

    def _take_back(self) -> None:
        """Begin a lane once more that was fenced although the group gives it to this process.

        Its other owner had not heard of the assignment yet, or this process had slept through its own loss of the lane. Not
        while another assignment is on its way, and not twice in a minute: two owners must not fence each other for ever.
        """
        now = time.monotonic()
        for number, at in list(self._fenced_at.items()):
            if self._settled and now - at > _OVERTAKEN_S and now - self._taken_back.get(number, -inf) > _AGAIN_S:
                del self._fenced_at[number]
                self._taken_back[number] = now

    def _end(self, lane: Lane, number: int) -> None:
        """A lane that works finishes its batch; one that still restores is cancelled."""
        if number in self._ending:
            return
        self._ending.add(number)
        lane.stop()
        if not lane.ready:
            self._tasks[number].cancel()

    def _collect(self) -> None:
        for number, task in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[number], self.lanes[number]
            self._ending.discard(number)
            if task.cancelled():
                continue
            error = task.exception()
            if isinstance(error, FencedError):
                self._fenced.inc()
                self._fenced_at[number] = time.monotonic()
                _log.info("lane fenced", stage=self.stage.name, lane=number)
            elif error is not None:
                raise error

    def stop(self) -> None:
        """Let the batches in flight commit, then leave the group."""
        self._stopping = True
        self._wake.set()

    async def _end_all(self) -> None:
        for number, lane in self.lanes.items():
            self._end(lane, number)
        if self._tasks:
            results = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            for result in results:
                if isinstance(result, Exception) and not isinstance(result, FencedError):
                    _log.error("lane ended badly while stopping", stage=self.stage.name, error=str(result))
        self._gauge.set(0)
