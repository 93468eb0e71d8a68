"""A service that is told to end is gone in time, with the right exit code, although Faust never comes back."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.runtime import clients
from services.runtime.launch import Deployment
from tests.integration.pipelines import Pipeline, file, fresh_name

FORCED = "the process did not end by itself and is ended by force"


@pytest.fixture
def pipeline(broker: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Nothing started yet."""
    with Pipeline(tmp_path, broker, file(fresh_name("endings"))) as made:
        yield made


def told(pipeline: Pipeline) -> list[tuple[str, Any]]:
    """Why cleaning has ended since its last start, and whether by force: event and error."""
    log = pipeline.processes["cleaning"].log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    since = max(index for index, line in enumerate(lines) if line["event"] == "service starts")
    return [(line["event"], line.get("error")) for line in lines[since:] if line["event"] in {"service ends", FORCED}]


async def spoil_checkpoint(deployment: Deployment) -> None:
    producer = clients.idempotent_producer(deployment.settings)
    await producer.start()
    try:
        await producer.send_and_wait(deployment.topic("state.cleaning"), b"not one", b"clean/0", partition=0)
    finally:
        await producer.stop()


def test_a_faust_that_never_stops_keeps_no_process(pipeline: Pipeline) -> None:
    """SIGTERM ends such a service with exit code 0, a failed lane with 1 and the lane's own line before the forced end."""
    pipeline.start("cleaning", module="tests.integration.stubborn")
    pipeline.wait_ready()
    assert pipeline.terminate("cleaning") == 0
    assert told(pipeline) == [(FORCED, None)]

    asyncio.run(spoil_checkpoint(pipeline.deployment))
    pipeline.restart("cleaning")
    assert pipeline.processes["cleaning"].running.wait(60) == 1
    (ends, why), forced = told(pipeline)
    assert ends == "service ends"
    assert "CheckpointError" in why
    assert forced == (FORCED, None)


def test_a_service_whose_port_is_taken_ends_with_one_line(pipeline: Pipeline) -> None:
    """It exits with code 1 and without a traceback, and the line about it names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pipeline.start("cleaning", RIVERMILL_WEB_PORT=str(port))
        assert pipeline.processes["cleaning"].running.wait(60) == 1
    ((ends, why),) = told(pipeline)
    assert ends == "service ends"
    assert str(port) in why
    assert "Traceback" not in pipeline.processes["cleaning"].log.read_text(encoding="utf-8")
