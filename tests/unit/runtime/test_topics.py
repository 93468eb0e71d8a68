"""What Kafka's answers about topics mean: which errors pass by themselves, and which only the user can put right."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import LeaderNotAvailableError, NotControllerError, UnknownTopicOrPartitionError

from schemas.topics import topics as table
from services.runtime import topics
from services.runtime.ending import exit_code
from services.runtime.errors import OperatorError

NAME = "orders.models"
(MODELS,) = (topic for topic in table("orders", 1, 1, 1, 1) if topic.name == NAME)


class Answering:
    """Kafka's admin client, with the same answer for every topic."""

    def __init__(self, code: int) -> None:
        self.code = code

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "error_code": self.code, "partitions": [{}, {}]} for name in names]

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        return [SimpleNamespace(resources=[(self.code, "why", 2, it.name, []) for it in resources])]

    async def create_topics(self, new: list[Any]) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, self.code, "why") for topic in new])


@pytest.mark.parametrize(("code", "counts"), [(0, {NAME: 2}), (3, {})])
def test_a_topic_is_there_or_it_is_not(code: int, counts: dict[str, int]) -> None:
    """One that does not exist is left out."""
    assert asyncio.run(topics.partition_counts(Answering(code), [NAME])) == counts


@pytest.mark.parametrize(("code", "error"), [(5, LeaderNotAvailableError), (41, NotControllerError)])
def test_an_error_that_passes_does_not_say_that_a_topic_is_gone(code: int, error: type[Exception]) -> None:
    """A stage would end for good over it: somebody would seem to have deleted its input."""
    with pytest.raises(error, match=NAME):
        asyncio.run(topics.partition_counts(Answering(code), [NAME]))


@pytest.mark.parametrize(("code", "exits"), [(7, 1), (41, 1), (17, 2), (38, 2), (44, 2)])
def test_a_topic_that_cannot_be_made_now_may_be_made_later(code: int, exits: int) -> None:
    """A service is started again while the controller is being chosen, and ends for good over what the user must mend."""
    with pytest.raises(OperatorError, match=f"{NAME}.*{code}: why") as told:
        asyncio.run(topics._create(Answering(code), [MODELS], 1, 0))
    assert exit_code(told.value) == exits


@pytest.mark.parametrize("code", [0, 36])
def test_a_topic_that_another_process_has_just_made_is_there(code: int) -> None:
    """Services that start together all make what is missing."""
    asyncio.run(topics._create(Answering(code), [MODELS], 1, 0))


def test_a_topic_without_a_configuration_is_an_error() -> None:
    """It would pass every check of its shape."""
    with pytest.raises(UnknownTopicOrPartitionError, match=NAME):
        asyncio.run(topics.topic_configs(Answering(3), [NAME]))


@pytest.mark.parametrize("code", [3, 5])
def test_a_new_topic_is_waited_for(code: int) -> None:
    """Kafka says that it is made, or was, before every broker knows of it."""
    admin = Answering(code)

    async def known_later() -> dict[str, int]:
        asked = asyncio.create_task(topics._counts_of_new(admin, [NAME]))
        await asyncio.sleep(0.01)
        admin.code = 0
        return await asked

    assert asyncio.run(known_later()) == {NAME: 2}
