"""Feeding the script to the raw topics at a steady rate, whatever becomes of the broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from chaos.script import Script, Send
from services.cli import topic_batches
from services.runtime import clients
from services.runtime.launch import Deployment

_TICK_S = 0.05


class Feeder:
    """Sends ``rate`` events a second, and what belongs to them, until :meth:`stop`. ``sent`` counts records, ``failures`` sends
    that the broker did not acknowledge: they may or may not lie in the raw topics, and the verdict goes by what lies there.
    """

    def __init__(self, deployment: Deployment, script: Script, rate: float) -> None:
        self.script = script
        self.sent = 0
        self.failures = 0
        self._deployment = deployment
        self._rate = rate
        self._extra: list[Send] = []
        self._stopping = False
        self._producer: AIOKafkaProducer | None = None

    def add(self, sends: Sequence[Send]) -> None:
        """Send these too, with the next tick."""
        self._extra += sends

    def stop(self) -> None:
        """Let the stream end, with the labels that were still to come."""
        self._stopping = True

    async def run(self) -> None:
        """Feed until stopped; then send the rest."""
        began = time.monotonic()
        while not self._stopping:
            due = int((time.monotonic() - began) * self._rate) - self.script.events
            sends, self._extra = [*self.script.take(max(0, due)), *self._extra], []
            await self.send(sends)
            await asyncio.sleep(_TICK_S)
        await self.send(self.script.rest())

    async def send(self, sends: Sequence[Send]) -> None:
        """Send these and wait for their acknowledgements."""
        deployment = self._deployment
        topics = {"events": deployment.events_topic, "labels": deployment.labels_topic}
        try:
            for kind, topic in topics.items():
                batches = topic_batches.TopicBatches(await self._started(), topic)
                await batches.open()
                await batches.send([(it.key, it.value) for it in sends if it.kind == kind])
                await batches.drain()
        except topic_batches.ProduceError:
            self.failures += 1
            await self.close()
        self.sent += len(sends)

    async def close(self) -> None:
        """Stop the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await clients.close_producer(producer)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = await topic_batches.started(self._deployment.settings.kafka())
        return self._producer
