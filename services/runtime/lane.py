"""A lane: one partition of a stage, one batch at a time, fetch → core → outputs and checkpoint in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec
import structlog
from aiokafka import TopicPartition

from schemas.codec import encode
from schemas.state import CHECKPOINT_MAX_BYTES, Checkpoint
from schemas.topics import topic_name
from services.domain.records import Incoming, Out, Output
from services.runtime import checkpoints
from services.runtime.errors import OperatorError
from services.runtime.gauges import LaneGauges
from services.runtime.inputs import Inputs
from services.runtime.readback import LogTruncatedError
from services.runtime.stage import Driver, Stage
from services.runtime.transactions import AtLeastOnce, ExactlyOnce, FencedError, Place, Publisher

_GROUP_OFFSETS_EVERY_S = 1.0
_PASSED_CHECKPOINT_S = 1.0
_BATCH_BUDGET_S = 0.25
_LEAST_BATCH = 16
_TURN_S = 0.005
"""A core works so long at a time: between, the event loop sends what the process's other lanes have ready."""
_REST_AT_MOST_S = 0.1
_log = structlog.get_logger()


class CheckpointTooLargeError(OperatorError):
    """A stage's small state has outgrown its bound."""


class Lane:
    """Runs one lane until :meth:`stop` is called, it is fenced (FencedError), or something is really wrong.

    ``moved_at`` (monotonic seconds) is when the lane began, last moved on or last had nothing ahead: health looks at it.
    ``ends`` is where each input ended when somebody else last looked: the lane's own fetches may have ceased unnoticed.
    """

    def __init__(self, stage: Stage, number: int) -> None:
        self.stage = stage
        self.number = number
        self.moved_at = time.monotonic()
        self.ends: Mapping[str, int] = {}
        self.ready = False
        self._reached = 0
        self._stopping = False
        self._checkpointed: Mapping[str, int] = {}
        self._checkpointed_at = 0.0
        self._limit = min(stage.max_batch, 500)
        self._slice = self._limit
        self._group_offsets_at = 0.0
        self._next_at = 0.0
        self._commit_s = 0.0
        self._gauges = LaneGauges(stage, number)
        self._commit: asyncio.Task[None] | None = None
        self._places: Sequence[Place] = ()

    def stop(self) -> None:
        """Finish the batch in flight, commit it, and end."""
        self._stopping = True

    async def run(self) -> None:
        """Fence the previous owner, restore, then work batch by batch."""
        began = time.monotonic()
        stage, number = self.stage, self.number
        publisher: Publisher
        if stage.delivery == "exactly_once":
            publisher = await ExactlyOnce.open(stage.settings, stage.group, number)
        else:
            publisher = await AtLeastOnce.open(stage.settings, stage.state_topic)
        try:
            checkpoint = await self._last_checkpoint()
            driver = await self._open(checkpoint)
            try:
                await self._work(driver, publisher, checkpoint, began)
            finally:
                await driver.close()
        finally:
            await publisher.close()
            self._gauges.clear()

    async def _last_checkpoint(self) -> Checkpoint | None:
        stage, number = self.stage, self.number
        return await checkpoints.last(
            stage.settings, stage.state_topic, number % stage.partitions, stage.checkpoint_key(number)
        )

    async def _open(self, checkpoint: Checkpoint | None) -> Driver:
        """Restore. Logs that do not match the checkpoint are truncated, unless another owner has gone on with them since."""
        try:
            return await self.stage.open(self.number, checkpoint)
        except LogTruncatedError as error:
            if await self._last_checkpoint() != checkpoint:
                raise FencedError(f"another owner went on with lane {self.number} while it was restored") from error
            raise

    async def _work(self, driver: Driver, publisher: Publisher, checkpoint: Checkpoint | None, began: float) -> None:
        await driver.ready()
        inputs = await Inputs.open(
            self.stage.settings, self.topics, self.number, checkpoint.inputs if checkpoint else {}
        )
        self._checkpointed = dict(inputs.positions)
        self._gauges.restored(time.monotonic() - began)
        self.moved_at = time.monotonic()
        self.ready = True
        _log.info("lane runs", stage=self.stage.name, lane=self.number, positions=inputs.positions)
        try:
            while not self._stopping:
                await self._turn(driver, publisher, inputs)
            await self._committed()
            if self._has_passed(inputs):
                await self._begin_commit(driver, publisher, inputs, Output(), ())
                await self._committed()
        finally:
            await self._abandon()
            await inputs.close()

    @property
    def topics(self) -> Sequence[str]:
        """Full names of the stage's inputs that have a partition for this lane."""
        return [topic for topic in self.stage.inputs if self.number < self.stage.counts[topic]]

    async def _turn(self, driver: Driver, publisher: Publisher, inputs: Inputs) -> None:
        """One round: what was fetched, and what is due without input."""
        await asyncio.sleep(max(0.0, self._next_at - time.monotonic()))
        batch = await inputs.fetch(self._limit, driver.idle_every_ms, driver.blocked())
        if batch:
            self._next_at = time.monotonic() + self.stage.every_ms / 1000
            if self._commit is None and self._limit > _LEAST_BATCH:  # a slower core might outlast the transaction
                await publisher.expect(self._places)
            output = await self._process(driver, batch)
            await self._begin_commit(driver, publisher, inputs, output, batch)
        if inputs.caught_up or not batch or not self.stage.ahead:
            await self._committed()
        if batch and inputs.caught_up:
            self._rest()
        effect = await driver.idle(time.time_ns() // 1_000_000, inputs.positions)
        if effect is None and not batch and self._has_passed(inputs, _PASSED_CHECKPOINT_S):
            effect = Output()
        if effect is not None:
            await self._begin_commit(driver, publisher, inputs, effect, ())
            await self._committed()
        self._note(inputs, driver.blocked())
        self._gauges.report(driver)

    def _rest(self) -> None:
        """Let the next batch gather for as long as the last commit took, which is long where everybody commits at once."""
        self._next_at = max(self._next_at, time.monotonic() + min(self._commit_s, _REST_AT_MOST_S))

    def _has_passed(self, inputs: Inputs, since_s: float = 0.0) -> bool:
        """Whether a lane without input has read past markers or aborted records that its checkpoint lies before.

        When retention has removed them, that position could not be told from one before records that were never read.
        The checkpoint is at least ``since_s`` old.
        """
        return inputs.positions != self._checkpointed and time.monotonic() - self._checkpointed_at >= since_s

    async def _process(self, driver: Driver, batch: Sequence[Incoming]) -> Output:
        """What the whole batch leads to, worked out a slice at a time."""
        output, now, worked = Output(), time.time_ns() // 1_000_000, 0.0
        for start in range(0, len(batch), self._slice):
            if start:
                await asyncio.sleep(0)
            began = time.monotonic()
            output.add(driver.process(batch[start : start + self._slice], now))
            worked += time.monotonic() - began
        self._adapt(len(batch), worked)
        return output

    def _note(self, inputs: Inputs, blocked: frozenset[str]) -> None:
        """Whether the lane moves, for health, and what lies ahead, for the metrics."""
        lag, reached = inputs.lag(self.ends), sum(inputs.positions.values())
        if reached != self._reached or not any(records for topic, records in lag.items() if topic not in blocked):
            self.moved_at = time.monotonic()
        self._reached = reached
        self._gauges.lag(lag, blocked)

    def _adapt(self, records: int, seconds: float) -> None:
        """Keep a batch's time in the core within its budget, so that heartbeats are never missed."""
        self._gauges.processed(records, seconds)
        per_record = seconds / records
        self._slice = max(1, int(_TURN_S / max(per_record, 1e-9)))
        if per_record * self._limit > _BATCH_BUDGET_S:
            self._limit = max(_LEAST_BATCH, int(_BATCH_BUDGET_S / per_record))
        elif records == self._limit:
            self._limit = min(self.stage.max_batch, self._limit * 2)

    async def _begin_commit(
        self, driver: Driver, publisher: Publisher, inputs: Inputs, output: Output, batch: Sequence[Incoming]
    ) -> None:
        """Once the last commit has succeeded: what is to be written is settled here, and sent beside."""
        await self._committed()
        stage = self.stage
        started = time.monotonic()
        sends: dict[Place, list[Out]] = {
            (topic_name(stage.pipeline, stream), partition): outs
            for (stream, partition), outs in output.sends.items()
            if outs
        }
        state = (stage.state_topic, self.number % stage.partitions)
        sends.setdefault(state, []).append(self._checkpoint(driver, inputs))
        group_offsets = self._group_offsets(inputs, started)
        if batch:
            self._places = list(sends)

        async def commit() -> None:
            ends = await publisher.publish(sends, group_offsets)
            driver.committed(ends)
            self._commit_s = time.monotonic() - started
            self._gauges.committed(sends, self._commit_s, batch)

        self._commit = asyncio.create_task(commit(), name=f"commit {stage.name}/{self.number}")

    async def _committed(self) -> None:
        """Wait for the commit that was begun; raises what it raised."""
        if self._commit is not None:
            await self._commit
            self._commit = None

    async def _abandon(self) -> None:
        """The lane ends for another reason: its commit ends with it."""
        if self._commit is not None:
            self._commit.cancel()
            await asyncio.gather(self._commit, return_exceptions=True)

    def _checkpoint(self, driver: Driver, inputs: Inputs) -> Out:
        standing = driver.standing()
        self._checkpointed, self._checkpointed_at = dict(inputs.positions), time.monotonic()
        value = encode(
            Checkpoint(
                stage=self.stage.name,
                lane=self.number,
                inputs=inputs.positions,
                low_water=standing.low_water,
                watermark=standing.watermark,
                totals=driver.core.totals,
                snapshot=standing.snapshot,
                data=msgspec.Raw(standing.data),
                control=standing.control,
            )
        )
        if len(value) > CHECKPOINT_MAX_BYTES:
            raise CheckpointTooLargeError(
                f"the checkpoint of {self.stage.name}/{self.number} has {len(value):,} bytes, more than "
                f"{CHECKPOINT_MAX_BYTES:,}: the pipeline file names too many features for one lane's statistics"
            )
        return Out(self.stage.checkpoint_key(self.number), value, time.time_ns() // 1_000_000)

    def _group_offsets(self, inputs: Inputs, now: float) -> dict[TopicPartition, int]:
        if now - self._group_offsets_at < _GROUP_OFFSETS_EVERY_S:
            return {}
        self._group_offsets_at = now
        return {TopicPartition(topic, self.number): offset for topic, offset in inputs.positions.items()}
