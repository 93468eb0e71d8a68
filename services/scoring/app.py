"""What is connected to what in scoring: clean events in, predictions out, served by what the follower holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from schemas.codec import encode
from schemas.state import Checkpoint
from services.domain import catalogue
from services.domain.records import Incoming, Output, Standing
from services.runtime import metrics
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryClient
from services.runtime.snapshots import SnapshotCache
from services.runtime.stage import Driver, Stage
from services.runtime.transactions import Place
from services.runtime.worker import Handler
from services.scoring.alerts import Untold
from services.scoring.core import Score
from services.scoring.follower import Follower


class Data(msgspec.Struct):
    """The stage's own part of its checkpoint: the incidents that the process has open, by cause and number."""

    refused: list[tuple[str, int]] = []


_DATA = msgspec.json.Decoder(Data | None)


class ScoreDriver(Driver):
    """Takes the newest served state between two turns, measures freshness, and sends the follower's alerts."""

    core: Score

    def __init__(self, core: Score, lane: int, follower: Follower, loading: asyncio.Task[None]) -> None:
        super().__init__(core)
        self._failures = metrics.CHALLENGER_FAILURES.labels("score", str(lane))
        self._follower = follower
        self._loading = loading
        self._generation = -1
        self._came_in: list[int] = []
        self._leaving: list[int] = []
        self._taken: list[Untold] = []
        self._telling: list[Untold] = []

    async def ready(self) -> None:
        """Scoring waits for a champion: unready, but healthy."""
        await self._follower.ready()

    def process(self, batch: Sequence[Incoming], now: int) -> Output:
        """Swap if there is something new, then score."""
        follower = self._follower
        if self._generation != follower.generation and follower.served is not None:
            self._generation = follower.generation
            self.core.serve(follower.served)
            learned = follower.take_came_in()
            self._came_in += [came_in for came_in, _ in learned]
            for came_in, served in learned:  # where no event came for a while, an earlier one would have had it as well
                metrics.LABEL_LAG_SECONDS.observe((min(batch[0].timestamp, served) - came_in) / 1000)
        return self.core.process(batch, now)

    async def idle(self, now: int, positions: Mapping[str, int]) -> Output | None:  # noqa: ARG002 - alerts have no input
        """The follower's alerts, in a transaction of their own; raises what ended the follower."""
        if self._loading.done():
            self._loading.result()
        alerts = self._follower.refusals.take()
        if not alerts:
            return None
        self._taken += alerts
        output = Output()
        output.to("alerts", 0).extend(it.out for it in alerts)
        return output

    def standing(self) -> Standing:
        """The core's, and which incidents are open; the alerts taken, or the first predictions with these labels, leave."""
        self._leaving, self._came_in = self._came_in, []
        self._telling, self._taken = self._taken, []
        standing = super().standing()
        standing.data = encode(Data([*self._follower.refusals.standing(self._telling)]))
        return standing

    def committed(self, ends: Mapping[Place, int]) -> None:  # noqa: ARG002 - what was written does not matter
        """They are out."""
        now = time.time()
        for came_in in self._leaving:
            metrics.FRESHNESS_SECONDS.observe(now - came_in / 1000)
        self._leaving = []
        self._follower.refusals.told(self._telling)
        self._telling = []

    async def close(self) -> None:
        """What did not get out is left to the process's other lanes, or to this one when it is back."""
        self._follower.refusals.give_back([*self._telling, *self._taken])

    def report(self) -> None:
        """Set the gauge of challengers' failures."""
        if self.core.served is not None:
            self._failures.set(self.core.served.failures)


def wire(deployment: Deployment, counts: dict[str, int]) -> tuple[Sequence[Stage], Mapping[str, Handler]]:
    """The stage ``score``, and the handlers of ``models`` and ``parameters``."""
    spec, settings = deployment.spec, deployment.settings
    client = RegistryClient(settings.registry_url, token=settings.registry_token, actor="scoring")
    cache = SnapshotCache(settings.folder("snapshots", deployment.name), client)
    follower = Follower(deployment.name, settings.signing_keys, cache)
    loading: list[asyncio.Task[None]] = []
    catalogue.prepare(it for it in spec.model.candidates if it.factory)  # whoever wrote it may expect the main thread

    async def open_score(lane: int, checkpoint: Checkpoint | None) -> Driver:
        if not loading:
            loading.append(asyncio.create_task(follower.run(), name="load snapshots"))
        core = Score(
            lane,
            deployment.partitions,
            binary=spec.pipeline.task == "binary",
            threshold=spec.pipeline.threshold,
        )
        if checkpoint is not None:
            core.totals.update(checkpoint.totals)
            if (data := _DATA.decode(checkpoint.data)) is not None:
                follower.restored(data.refused)
        return ScoreDriver(core, lane, follower, loading[0])

    clean = deployment.topic("events.clean")
    stage = deployment.stage(
        "scoring", "score", {clean: counts[clean]}, open_score, delivery=settings.delivery, ahead=True,
        warm=partial(catalogue.prepare, spec.model.candidates),
    )  # fmt: skip
    return [stage], {
        deployment.topic("models"): follower.on_decision,
        deployment.topic("parameters"): follower.on_parameters,
    }
