"""What a lane may hand out while its inputs' brokers answer one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from services.runtime import clients
from services.runtime.inputs import Inputs
from services.runtime.settings import Settings
from services.runtime.wire import Record

EVENTS, LABELS = PLACES = TopicPartition("p.events.raw", 0), TopicPartition("p.labels.raw", 0)
RECORD = Record(EVENTS.topic, 0, 4, 0, 0, b"", b"", ())


def answer(inputs: Inputs, place: TopicPartition, at: int) -> None:
    """A fetch is answered at this millisecond: nothing lies beyond offset 5."""
    state = inputs._consumer._subscription.subscription.assignment.state_value(place)
    state.lso, state.timestamp = 5, at
    state.seek(5)


@asynccontextmanager
async def paused() -> AsyncIterator[Inputs]:
    """Both inputs had been read up when the lane paused; then an event came, and was fetched."""
    consumer = clients.reader(Settings())
    consumer.assign(PLACES)
    inputs = Inputs(consumer, PLACES, dict.fromkeys((place.topic for place in PLACES), 4))
    for place in PLACES:
        answer(inputs, place, 100)
    assert inputs.caught_up
    inputs._pause()
    assert consumer.paused() == set(PLACES)
    inputs._buffers[EVENTS].append(RECORD)
    answer(inputs, EVENTS, 120)
    yield inputs
    await consumer.stop()


def test_an_input_that_was_read_up_before_the_pause_is_waited_for() -> None:
    """What it was told then is as old as the last commit: a record that came since may be older than the other's."""

    async def run() -> None:
        async with paused() as inputs:
            assert inputs._take(PLACES, 10, answered=True) == []
            answer(inputs, LABELS, 121)
            assert inputs._take(PLACES, 10, answered=True) == [RECORD]

    asyncio.run(run())


def test_an_input_whose_broker_does_not_answer_soon_holds_nothing_up() -> None:
    """Its fetch may wait for half a second for a record that never comes: what it told last counts then."""

    async def run() -> None:
        async with paused() as inputs:
            assert inputs._take(PLACES, 10, answered=True) == []
            assert inputs._take(PLACES, 10) == [RECORD]

    asyncio.run(run())
