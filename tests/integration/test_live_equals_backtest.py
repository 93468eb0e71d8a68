"""The live path, on the real broker with every service a process of its own, and the backtest predict the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from examples.flights.data import flights
from examples.flights.dirt import Send, soil
from schemas.predictions import Prediction
from services.cli.account import books, stage_totals
from services.cli.offline import Offline, Record
from services.cli.positions import Checkpoints
from services.domain.murmur import partition
from services.runtime import clients
from services.runtime.launch import load
from tests.integration.pipelines import ANSWER_S, Pipeline, until

FLIGHTS = Path("examples/flights/pipeline.toml")
SERVICES = ("registry", "cleaning", "scoring", "learner")
_SERVED = re.compile(r"^rivermill_served_examples_offset (\S+)$", re.MULTILINE)
_CHALLENGED = re.compile(r"^rivermill_served_challengers 1\.0$", re.MULTILINE)


def soiled(count: int) -> list[Send]:
    """The first flights of 2013, a quarter of them soiled, until the last event: labels come while events still do."""
    sends = list(soil(flights(1, count), 0.25))
    while sends[-1].kind == "label":
        sends.pop()
    return sends


def backtested(path: Path, sends: list[Send]) -> list[Prediction]:
    seen: list[Record] = []
    offline = Offline(
        load(path), observe=lambda stream, record: seen.append(record) if stream == "predictions" else None
    )
    for send in sends:
        offline.feed(send.kind, send.key, send.value, send.at * 1000)
    return [msgspec.json.decode(record.value or b"", type=Prediction) for record in seen]


def said(predictions: list[Prediction]) -> dict[str, Any]:
    """What was predicted and from what, by event; versions and offsets are those of another log."""
    return {
        each.event_id: (
            each.time, each.score, each.prediction, each.model.candidate, each.features, each.encoded, each.spec,
            [(challenger.candidate, challenger.score) for challenger in each.challengers],
        )
        for each in predictions
    }  # fmt: skip


class Feed:
    """Sends one record, and returns once every stage has done with it and scoring serves what was learned of it."""

    def __init__(self, pipeline: Pipeline, producer: Any, checkpoints: Checkpoints, client: httpx.AsyncClient) -> None:
        self._deployment = pipeline.deployment
        self._metrics = f"{pipeline.processes['scoring'].url}/metrics"
        self._producer, self._checkpoints, self._client = producer, checkpoints, client
        self._sent = {"events": 0, "labels": 0}
        self._learned, self._served = 0, 0.0

    async def challenged(self) -> bool:
        """Whether the challenger is served, too: it is published after the champion, and a backtest has both at once."""
        return _CHALLENGED.search((await self._client.get(self._metrics)).text) is not None

    async def send(self, send: Send) -> None:
        stream = f"{send.kind}s"
        self._sent[stream] += 1
        place = 0 if send.key is None else partition(send.key, self._deployment.partitions)
        topic = self._deployment.topic(f"{stream}.raw")
        await self._producer.send_and_wait(topic, send.value, key=send.key, partition=place)
        await until(self._settled, f"everything to be done with {send}")

    async def _settled(self) -> bool:
        """A record makes at most one example, so scoring has it once it serves a greater offset than before."""
        totals = stage_totals(await self._checkpoints.refresh())
        if any(each.difference for each in books(totals, self._sent) if not each.name.startswith("summari")):
            return False
        learned = totals["train"].get("examples", 0) + totals["train"].get("corrections", 0)
        found = _SERVED.search((await self._client.get(self._metrics)).text)
        offset = float(found[1]) if found else 0.0
        if learned > self._learned and offset <= self._served:
            return False
        self._learned, self._served = learned, offset
        return offset > 0


@asynccontextmanager
async def feed(pipeline: Pipeline) -> AsyncIterator[Feed]:
    producer = clients.idempotent_producer(pipeline.deployment.settings)
    await producer.start()
    try:
        async with (
            Checkpoints(pipeline.deployment) as checkpoints,
            httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client,
        ):
            yield Feed(pipeline, producer, checkpoints, client)
    finally:
        await producer.stop()


def written(name: str, partitions: int) -> str:
    text = FLIGHTS.read_text(encoding="utf-8")
    for old, new in (('name = "flights"', f'name = "{name}"'), ("partitions = 2", f"partitions = {partitions}")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("partitions", [1, 4])
def test_live_predictions_are_those_of_the_backtest(
    broker: str, pipeline_name: str, tmp_path: Path, partitions: int
) -> None:
    """Soiled flights sent one by one and waited for get, bit for bit, the predictions that a backtest gives them."""
    sends = soiled(300)
    with Pipeline(tmp_path, broker, written(pipeline_name, partitions)) as pipeline:
        for service in SERVICES:
            pipeline.start(service)
        pipeline.wait_ready(*SERVICES)

        async def scenario() -> list[Prediction]:
            async with feed(pipeline) as feeding:
                await until(feeding.challenged, "the challenger to be served beside the champion")
                for send in sends:
                    await feeding.send(send)
            return await pipeline.decoded("predictions", Prediction)

        live, wanted = said(asyncio.run(scenario())), said(backtested(pipeline.path, sends))
    assert len(live) > 250
    assert len({score for _, score, *_ in live.values()}) > 150
    assert live == wanted
