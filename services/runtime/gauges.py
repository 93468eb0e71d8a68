"""A lane's metrics, their children looked up once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from schemas.topics import topic_name
from services.domain.records import Incoming, Out
from services.runtime import metrics
from services.runtime.stage import Driver, Stage
from services.runtime.transactions import Place

_MAX_TOTALS = 200


class LaneGauges:
    """What one lane reports, a few calls a batch."""

    def __init__(self, stage: Stage, lane: int) -> None:
        self._labels = (stage.name, str(lane))
        self._stage = stage
        self._in = metrics.RECORDS_IN.labels(*self._labels)
        self._out = metrics.RECORDS_OUT.labels(*self._labels)
        self._deadletters = metrics.DEADLETTERS.labels(*self._labels)
        self._deadletter = topic_name(stage.pipeline, "deadletter")
        self._process = metrics.PROCESS_SECONDS.labels(*self._labels)
        self._commit = metrics.COMMIT_SECONDS.labels(*self._labels)
        self._age = metrics.EVENT_AGE_SECONDS.labels(*self._labels)
        self._lag = {topic: metrics.LAG.labels(*self._labels, topic) for topic in stage.inputs}
        self._paused = {topic: metrics.PAUSED.labels(*self._labels, topic) for topic in stage.inputs}
        self._told_at = 0.0
        self._untold = False

    def restored(self, seconds: float) -> None:
        """The lane is about to fetch."""
        metrics.RESTORE_SECONDS.labels(self._stage.name).observe(seconds)

    def processed(self, records: int, seconds: float) -> None:
        """A batch has been through the core."""
        self._in.inc(records)
        self._process.observe(seconds)

    def committed(self, sends: Mapping[Place, Sequence[Out]], seconds: float, batch: Sequence[Incoming]) -> None:
        """A transaction is committed."""
        self._out.inc(sum(map(len, sends.values())))
        self._deadletters.inc(sum(len(outs) for (topic, _), outs in sends.items() if topic == self._deadletter))
        self._commit.observe(seconds)
        if batch:
            self._age.observe(max(0.0, time.time() - batch[-1].timestamp / 1000))
        self._untold = True

    def report(self, driver: Driver) -> None:
        """Totals and the stage's own gauges, at most once a second and only after a commit."""
        now = time.monotonic()
        if self._untold and now - self._told_at >= 1.0:
            self._untold, self._told_at = False, now
            for what, total in list(driver.core.totals.items())[:_MAX_TOTALS]:
                metrics.TOTALS.labels(*self._labels, what).set(total)
            driver.report()

    def lag(self, lag: Mapping[str, int], blocked: frozenset[str]) -> None:
        """Lag and pauses by input."""
        for topic, records in lag.items():
            self._lag[topic].set(records)
            self._paused[topic].set(topic in blocked)

    def clear(self) -> None:
        """The lane has left this process: its gauges would tell of another's work."""
        stage, lane = self._labels
        for gauge in metrics.OF_A_LANE:
            gauge.remove_by_labels({"stage": stage, "lane": lane})
