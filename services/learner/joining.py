"""The join on its lane: restore from the logs, and expiry behind the labels' high watermark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from datetime import timedelta

from schemas.state import Checkpoint
from services.domain.records import Output
from services.domain.spec import duration
from services.learner.core.join import Join
from services.learner.core.join_restore import LedgerError, Restoring
from services.learner.core.ledger import Lapsed
from services.learner.disk import Disk
from services.runtime import checkpoints, clients, metrics, readback, topics
from services.runtime.launch import Deployment
from services.runtime.stage import Driver
from services.runtime.transactions import Place

_MILLISECOND = timedelta(milliseconds=1)
_ASK_EVERY_MS = 200
"""On a busy lane deadlines pass all the time: asking, and a transaction for what comes of it, would be half its work."""


class JoinDriver(Driver):
    """Asks for the high watermark of ``labels.clean`` when something could expire, and expires once it is reached."""

    core: Join

    def __init__(self, core: Join, disk: Disk, deployment: Deployment, lane: int) -> None:
        super().__init__(core)
        self._disk = disk
        self._watcher = readback.Watcher(deployment.settings)
        self._labels = deployment.topic("labels.clean")
        self._outcomes = (deployment.topic("outcomes"), lane)
        self._lane = lane
        self._bound = metrics.WAITING_LABELS_BOUND.labels("join", str(lane))
        self._on_disk = metrics.PREDICTIONS_ON_DISK.labels("join", str(lane))
        self._watermark = metrics.WATERMARK.labels("join", str(lane))
        self._max_waiting = deployment.spec.label.max_waiting
        self._barrier: tuple[Lapsed, int] | None = None
        self._asked_at = 0
        self._unsaved = False

    async def idle(self, now: int, positions: Mapping[str, int]) -> Output | None:
        """Expire what the barrier asked for last time has cleared; move to the state topic what its log may soon lose."""
        output = await self._expired(now, positions) or self.core.rest(now)
        due = self._unsaved and not self._asked_lately(now)
        return output if output.sends or due else None

    async def _expired(self, now: int, positions: Mapping[str, int]) -> Output | None:
        if self._barrier is None:
            self._barrier = await self._ask(now)
        if self._barrier is None or positions[self._labels] < self._barrier[1]:
            return None
        lapsed, self._barrier = self._barrier[0], None
        self._unsaved = True  # what was only forgotten goes into the next checkpoint, unless none follows
        return self.core.expire(lapsed)

    async def _ask(self, now: int) -> tuple[Lapsed, int] | None:
        lapsed = self.core.expirable()
        if lapsed is None or self._asked_lately(now):
            return None
        self._asked_at = now
        _, high = await self._watcher.bounds(self._labels, self._lane)
        return lapsed, high

    def _asked_lately(self, now: int) -> bool:
        return 0 <= now - self._asked_at < _ASK_EVERY_MS

    def committed(self, ends: Mapping[Place, int]) -> None:
        """Outcomes will lie after what was just written."""
        self._unsaved = False
        self.core.outcomes_position = ends.get(self._outcomes, self.core.outcomes_position)

    def blocked(self) -> frozenset[str]:
        """Labels, while as many wait as may."""
        return frozenset((self._labels,)) if self.core.blocked() else frozenset()

    def report(self) -> None:
        """Set the gauges of the watermark (an idle lane's stands still), of the disk and of the bound on waiting labels."""
        self._bound.set(self._max_waiting)
        self._on_disk.set(self.core.ledger.values.stored)
        if (watermark := self.core.ledger.watermark.at) is not None:
            self._watermark.set(watermark.timestamp())

    async def close(self) -> None:
        """The lane has ended."""
        self._disk.close()
        await self._watcher.close()


def kept_back(kept_ms: Iterable[int], retention_ms: int) -> int | None:
    """How old a record may get before what is remembered of it moves to the state topic; None if its logs stay for ever.

    ``kept_ms`` is how long each of the logs is kept (negative: for ever). What is left of that time by then is how long
    an outage may take: ``[topics] retention``, or half of it all.
    """
    least = min((ms for ms in kept_ms if ms >= 0), default=None)
    return None if least is None else least - min(retention_ms, least // 2)


async def open_join(deployment: Deployment, lane: int, checkpoint: Checkpoint | None) -> Driver:
    """A lane's join, restored from predictions, labels and its own outcomes."""
    predictions, labels, outcomes = (deployment.topic(s) for s in ("predictions", "labels.clean", "outcomes"))
    settings = deployment.settings
    async with clients.admin(settings) as admin:
        configs = await topics.topic_configs(admin, (predictions, labels, outcomes))
    kept = [int(config.get("retention.ms", "-1")) for config in configs.values()]
    keep_ms = kept_back(kept, duration(deployment.spec.topics.retention) // _MILLISECOND)
    with ExitStack() as held:
        disk = held.enter_context(closing(Disk(settings.folder("join", deployment.name))))
        core = Join(deployment.spec, lane, deployment.partitions, predictions, labels, store=disk, keep_ms=keep_ms)
        if checkpoint is not None:
            await _restore(core, deployment, lane, checkpoint)
        held.pop_all()
    return JoinDriver(core, disk, deployment, lane)


async def _restore(core: Join, deployment: Deployment, lane: int, checkpoint: Checkpoint) -> None:
    settings, low, ledger = deployment.settings, checkpoint.low_water, core.ledger
    outcomes = deployment.topic("outcomes")
    restoring = Restoring(core, bytes(checkpoint.data), checkpoint.totals)
    async for batch in checkpoints.spilled(settings, deployment.topic("state.learner"), lane, b"join/%d/" % lane):
        restoring.spilled(batch)
    _, end = await readback.bounds(settings, outcomes, lane)
    # outcomes of nothing that is remembered may be gone; `finish` misses any other
    async for batch in readback.records(settings, outcomes, lane, low[outcomes], end, whole=False):
        restoring.outcomes(batch)
    for topic, backlog, take in (
        (core.predictions_topic, ledger.predictions, restoring.predictions),
        (core.labels_topic, ledger.labels, restoring.labels),
    ):
        async for batch in readback.records(settings, topic, lane, low[topic], backlog.position):
            take(batch)
    try:
        restoring.finish()
    except LedgerError as error:
        raise readback.LogTruncatedError(f"stage join, lane {lane}: {error}") from error
    core.outcomes_position = end
