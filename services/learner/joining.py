"""The join on its lane: restore from the logs, and expiry behind the labels' high watermark."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.state import Checkpoint
from services.domain.records import Output
from services.learner.core.join import Join
from services.learner.core.join_restore import Restoring
from services.learner.core.ledger import Lapsed
from services.runtime import checkpoints, metrics, readback
from services.runtime.launch import Deployment
from services.runtime.stage import Driver
from services.runtime.transactions import Place

_ASK_EVERY_MS = 200
"""On a busy lane deadlines pass all the time: asking, and a transaction for what comes of it, would be half its work."""


class JoinDriver(Driver):
    """Asks for the high watermark of ``labels.clean`` when something could expire, and expires once it is reached."""

    core: Join

    def __init__(self, core: Join, deployment: Deployment, lane: int) -> None:
        super().__init__(core)
        self._watcher = readback.Watcher(deployment.settings)
        self._labels = deployment.topic("labels.clean")
        self._outcomes = (deployment.topic("outcomes"), lane)
        self._lane = lane
        self._bound = metrics.WAITING_LABELS_BOUND.labels("join", str(lane))
        self._watermark = metrics.WATERMARK.labels("join", str(lane))
        self._max_waiting = deployment.spec.label.max_waiting
        self._barrier: tuple[Lapsed, int] | None = None
        self._asked_at = 0

    async def idle(self, now: int, positions: Mapping[str, int]) -> Output | None:
        """Expire what the barrier asked for last time has cleared."""
        if self._barrier is None:
            self._barrier = await self._ask(now)
        if self._barrier is None or positions[self._labels] < self._barrier[1]:
            return None
        output = self.core.expire(self._barrier[0])
        self._barrier = None
        return output if output.sends else None  # what was only forgotten stands in the next checkpoint

    async def _ask(self, now: int) -> tuple[Lapsed, int] | None:
        lapsed = self.core.expirable()
        if lapsed is None or 0 <= now - self._asked_at < _ASK_EVERY_MS:
            return None
        self._asked_at = now
        _, high = await self._watcher.bounds(self._labels, self._lane)
        return lapsed, high

    def committed(self, ends: Mapping[Place, int]) -> None:
        """Outcomes will lie after what was just written."""
        self.core.outcomes_position = ends.get(self._outcomes, self.core.outcomes_position)

    def blocked(self) -> frozenset[str]:
        """Labels, while as many wait as may."""
        return frozenset((self._labels,)) if self.core.blocked() else frozenset()

    def report(self) -> None:
        """Set the gauges of the watermark (an idle lane's stands still) and of the bound on waiting labels."""
        self._bound.set(self._max_waiting)
        if (watermark := self.core.ledger.watermark.at) is not None:
            self._watermark.set(watermark.timestamp())

    async def close(self) -> None:
        """The lane has ended."""
        await self._watcher.close()


async def open_join(deployment: Deployment, lane: int, checkpoint: Checkpoint | None) -> Driver:
    """A lane's join, restored from predictions, labels and its own outcomes."""
    predictions, labels, outcomes = (deployment.topic(s) for s in ("predictions", "labels.clean", "outcomes"))
    core = Join(deployment.spec, lane, deployment.partitions, predictions, labels)
    if checkpoint is not None:
        settings = deployment.settings
        state = deployment.topic("state.learner")
        restoring = Restoring(core, bytes(checkpoint.data), checkpoint.totals)
        restoring.spilled(await checkpoints.spilled(settings, state, lane, b"join/%d/" % lane))
        low, reached = checkpoint.low_water, checkpoint.inputs
        _, end = await readback.bounds(settings, outcomes, lane)
        async for batch in readback.records(settings, outcomes, lane, low[outcomes], end):
            restoring.outcomes(batch)
        async for batch in readback.records(settings, predictions, lane, low[predictions], reached[predictions]):
            restoring.predictions(batch)
        async for batch in readback.records(settings, labels, lane, low[labels], reached[labels]):
            restoring.labels(batch)
        restoring.finish()
        core.outcomes_position = end
    return JoinDriver(core, deployment, lane)
