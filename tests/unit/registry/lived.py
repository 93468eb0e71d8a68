"""A model with a past, for the pages: versions from real snapshots through the API, and what drift tells of it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

from schemas.alerts import Alert, Position, Suspect
from schemas.codec import encode
from schemas.examples import Example
from schemas.predictions import ChallengerScore, ModelRef
from schemas.summaries import FeatureMoments, Moments, Summary
from schemas.topics import topic_name, topics
from services.domain import snapshot
from services.learner.core.fold import Fold
from services.runtime import clients
from services.runtime.settings import from_environment
from services.runtime.topics import ensure
from tests.unit.registry.serving import post
from tests.unit.stream import LOG_ID, LOGISTIC, MORE, control, examples, spec

KEY = "k" * 32
_EVERY = 40
_START = datetime(2026, 3, 1, tzinfo=UTC)


def publish(client: httpx.Client, name: str, sets: int, headers: dict[str, str] | None = None) -> None:
    """Fold examples and publish both candidates after every forty; the pipeline file changes half-way."""
    fold = Fold()
    before, after = spec(LOGISTIC), spec(LOGISTIC, MORE)
    log = examples(_EVERY * sets, of=before)
    rng = random.Random(3)  # noqa: S311 - reproducible test data
    for at in range(sets):
        if at in (0, sets // 2):
            told = control(before if at == 0 else after)
            client.put(f"/api/v1/specs/{told.spec}", content=told.pipeline, headers=headers).raise_for_status()
            fold.apply(told, fold.offset)
        for example in log[at * _EVERY : (at + 1) * _EVERY]:
            fold.apply(_scored(example, rng, at / sets), fold.offset, 0)
        for taken in fold.snapshots():
            post(
                client, name, taken.blob, headers, candidate=taken.candidate, offset=fold.offset, spec=told.spec,
                log_id=LOG_ID, signature=snapshot.sign(taken.blob, KEY.encode()), metrics=taken.metrics,
                sha256=hashlib.sha256(taken.blob).hexdigest(),
            ).raise_for_status()  # fmt: skip


def _scored(example: Example, rng: random.Random, learned: float) -> Example:
    """Scores as those of models that get better, the challenger more slowly."""

    def score(skill: float) -> float:
        return min(max(0.5 + skill * (0.3 if example.label else -0.3) + rng.gauss(0, 0.15), 0.01), 0.99)

    challengers = [ChallengerScore(it.candidate, 1, 1, score(0.5 * learned)) for it in example.challengers]
    return msgspec.structs.replace(example, score=score(0.3 + 0.6 * learned), challengers=challengers)


def alerts(name: str) -> Iterator[Alert]:
    """One incident that was opened and has recovered, and one that is open, whose summary tries to be a script."""
    distance = [Suspect("distance", 0.93, 1031.4, 1672.0), Suspect("wind", 0.07, 9.4, None, "standard deviation")]
    told = Alert(
        alert_id="drift-1-1", incident_id="drift-1", state="opened", resolution=None, kind="drift", severity="warning",
        signal="mean:distance", summary="distance: mean 1031 -> 1672, with 1 more that moved",
        evidence={"statistic": "mean of distance", "threshold": 10.0, "blocks": 3.0}, suspects=distance,
        model=ModelRef(name, "logistic", 1, 40), detected_at=_START, position=Position(f"{name}.summaries", 0, 9),
    )  # fmt: skip
    yield told
    yield msgspec.structs.replace(
        told, alert_id="drift-1-2", state="resolved", resolution="recovered", detected_at=_START + timedelta(days=2)
    )
    yield msgspec.structs.replace(
        told, alert_id="drift-2-1", incident_id="drift-2", kind="data_quality", severity="critical",
        signal="missing:wind", summary="wind: share of missing values 0.01 -> 0.4 <script>alert(1)</script>",
        evidence={"statistic": "missing of wind", "threshold": 10.0, "blocks": 1.0},
        suspects=[Suspect("wind", 1.0, 0.01, 0.4, "share of missing values")],
    )  # fmt: skip


def summaries(count: int) -> Iterator[Summary]:
    """Parts of blocks: distance moves half-way, and wind goes missing at the end."""
    rng = random.Random(4)  # noqa: S311 - reproducible test data
    for at in range(count):
        start = _START + timedelta(hours=at)
        lost = 40 if at > count * 0.8 else 1
        centre = 1000.0 if at < count / 2 else 1600.0
        features = {
            "distance": _numbers(100, 0, centre + rng.gauss(0, 30), 300.0),
            "wind": _numbers(100 - lost, lost, 10 + rng.gauss(0, 1), 4.0),
            "carrier": FeatureMoments(count=98, missing=2),
        }
        yield Summary(
            lane=at % 4, source="predictions", first_offset=at * 100, last_offset=at * 100 + 99, start=start,
            end=start + timedelta(hours=1), events=100, features=features, score=Moments(100, 30.0, 12.0),
            loss={}, spec="0" * 16, watermark=start + timedelta(hours=1),
        )  # fmt: skip


def _numbers(count: int, missing: int, mean: float, deviation: float) -> FeatureMoments:
    return FeatureMoments(count, missing, count * mean, count, mean, 0.0, count * deviation**2, deviation)


def tell(broker: str, name: str, told: list[Alert], summed: list[Summary]) -> None:
    """Make the topics as drift does, and write to them."""
    asyncio.run(_tell(broker, name, {"alerts": told, "summaries": summed}))


async def _tell(broker: str, name: str, told: dict[str, list[Any]]) -> None:
    settings = from_environment({"RIVERMILL_BROKER": broker})
    await ensure(settings, [topic for topic in topics(name, 1, 10**9, 10**6) if topic.stream in told])
    producer = clients.transactional_producer(settings, f"{name}.test")
    await producer.start()
    try:
        for stream, records in told.items():
            async with producer.transaction():
                sent = [await producer.send(topic_name(name, stream), encode(record)) for record in records]
                await asyncio.gather(*sent)
    finally:
        await producer.stop()
