"""One secured broker for all tests of this folder, and one pipeline on it whose processes may do what the table says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.load import Load
from tests.integration.pipelines import Pipeline, file, fresh_name, send
from tests.integration.security.access import allow, printed, reached
from tests.integration.security.secured import EVENTS, SERVICES, Secured, secured_broker


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker of this folder's own."""
    with secured_broker(tmp_path_factory.mktemp("secured")) as running:
        yield running


@pytest.fixture(scope="package")
def pipeline(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """All five services, each somebody else to Kafka and two of them by certificate; topics and work of others' making.

    The tests themselves look at it as a superuser.
    """
    folder, text = tmp_path_factory.mktemp("secured"), file(fresh_name("secured"))
    with Pipeline(folder, secured.by_password["RIVERMILL_BROKER"], text) as started:
        asyncio.run(prepare(secured, started))
        for service in SERVICES:
            started.start(service, **secured.env(service), RIVERMILL_LOG_LEVEL="debug")
        started.wait_ready()
        asyncio.run(work(secured, started))
        yield started


async def prepare(secured: Secured, pipeline: Pipeline) -> None:
    """Let a superuser grant what is printed, and an operator make the topics."""
    pipeline.deployment = reached(pipeline.deployment, secured.by_password)
    await allow(pipeline.deployment.settings, printed(pipeline.deployment))
    await reached(pipeline.deployment, secured.env("operators")).ensure_topics()


async def work(secured: Secured, pipeline: Pipeline) -> None:
    """Send events and all their labels, as a producer."""
    stream, deployment = Load("s"), reached(pipeline.deployment, secured.env("producers"))
    events, labels = stream.portion(EVENTS)
    await send(deployment, deployment.events_topic, events)
    await send(deployment, deployment.labels_topic, labels + stream.rest())
