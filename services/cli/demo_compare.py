"""What the demo measured live, beside a backtest of the same soiled events with labels as late as they were live."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from services.cli import backtest_input
from services.cli.backtest_run import run
from services.domain.spec import Spec, duration

AGREE_WITHIN = 0.01
ENOUGH = 20_000
"""Labels from which on chance alone moves an AUC by less than that."""


class Compared(msgspec.Struct):
    """The champion's measures both ways. ``label_lag_s`` is event time: what live cost, and the backtest was given."""

    candidate: str
    label_lag_s: float
    live: dict[str, float]
    backtest: dict[str, float]

    @property
    def agree(self) -> bool | None:
        """Whether both say the same of the model: AUC within .01. None on too few labels to say."""
        if self.live["examples"] < ENOUGH:
            return None
        return abs(self.live["auc"] - self.backtest["auc"]) <= AGREE_WITHIN


async def compared(
    spec: Spec,
    replayed: tuple[int, float, int, int | None],
    lag: timedelta,
    candidate: str | None,
    live: Mapping[str, Mapping[str, float]],
) -> Compared | None:
    """Backtest the flights that were ``replayed`` (days, dirt, seed, limit); None where there is nothing to compare.

    Live, a label was joined long before it was served. The backtest, in which it comes late, must wait for it as much
    longer.
    """
    days, dirt, seed, limit = replayed
    records, _ = backtest_input.flights(days, dirt, seed, lag, limit)
    horizon = (duration(spec.label.horizon) + lag).total_seconds()
    spec = replace(spec, label=replace(spec.label, horizon=f"{math.ceil(horizon)}s"))
    stopped = threading.Event()
    try:
        result = await asyncio.to_thread(run, spec, records, lag=lag, stopped=stopped.is_set)
    finally:
        stopped.set()
    measured = {each.candidate: each.measures | {"examples": each.examples} for each in result.total}
    if candidate is None or not ("auc" in live.get(candidate, {}) and "auc" in measured.get(candidate, {})):
        return None
    return Compared(candidate, lag.total_seconds(), dict(live[candidate]), measured[candidate])
