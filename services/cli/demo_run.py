"""One run of the demo: everything started, the flights replayed and shown, what is left worked off, all measured."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live

from examples.flights.data import flights
from examples.flights.dirt import EVENT_DIRT, LABEL_DIRT, Send, in_kilometres, soil
from examples.flights.replay import Replay
from schemas.alerts import Alert
from services.cli import demo_end, follow, live_view
from services.cli.demo_compare import Compared, compared
from services.cli.demo_end import Result
from services.cli.scrape import Sample, Scraper
from services.cli.settle import take_account, wait_settled
from services.cli.supervise import Supervisor

_LOOK_EVERY_S, _LINE_EVERY_S, _SETTLE_S = 1.0, 5.0, 120.0
_ALERT = msgspec.json.Decoder(Alert)
_KILOMETRES = "kilometres"
_PREDICTING = {"raw events", "re-keyed", "clean events", "scoring"}
"""The equations that are right once every raw event has its prediction."""


@dataclass(frozen=True)
class Wanted:
    """What to replay: ``speed`` is event time over wall time, infinite for as fast as it goes."""

    days: int
    flights: int | None
    speed: float
    seed: int
    dirt: float

    def has_kilometres(self) -> bool:
        """Whether the replay gets as far as the flights whose distances arrive in kilometres."""
        return self.dirt > 0 and any(map(in_kilometres, flights(self.days, self.flights)))


class Demo:
    """One run of the demo."""

    def __init__(self, supervisor: Supervisor, wanted: Wanted) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.supervisor = supervisor
        self.alerts: list[Alert] = []
        self.incidents: dict[str, Alert] = {}
        self._began = time.monotonic()
        self._wanted = wanted
        self._first_prediction_s: float | None = None
        self._predicted_s: float | None = None
        self._before: Sample | None = None
        self._tasks: list[asyncio.Task[None]] = []
        supervisor.say = self.say

    def say(self, line: str) -> None:
        """A line for a person, with the seconds since the start."""
        self.console.print(f"[dim]{time.monotonic() - self._began:7.1f} s[/]  {line}")

    async def run(self, *, stay: bool, report: Path | None) -> int:
        """The whole demo; the exit code."""
        self._announce(kilometres=await asyncio.to_thread(self._wanted.has_kilometres))
        sends = soil(flights(self._wanted.days, self._wanted.flights), self._wanted.dirt, self._wanted.seed,
                     kilometres=self._wanted.dirt > 0)  # fmt: skip
        first = await asyncio.to_thread(next, sends, None)  # opens the data set, or says that it is missing
        await self.supervisor.start()
        deployment = self.supervisor.deployment
        self._tasks.append(asyncio.create_task(self._follow_alerts()))
        scraper = Scraper(self.supervisor.endpoints)
        replay = Replay(deployment.settings.kafka(), _joined(first, sends), deployment.name, self._wanted.speed)
        try:
            settled = await self._watch(replay, scraper)
            result = await self._result(replay, await scraper.sample(), settled=settled)
        finally:
            await scraper.close()
        return await self.end(result, stay=stay, report=report)

    async def end(self, result: Result, *, stay: bool, report: Path | None) -> int:
        """Show what was measured and write it down, then run on if wanted; 1 when the account does not balance."""
        demo_end.show(self.console, result)
        if report is not None:
            await asyncio.to_thread(report.write_bytes, msgspec.json.format(msgspec.json.encode(result)))
        if stay:
            demo_end.look_next(self.console, self.supervisor)
            self.console.print("\nEverything runs on; Ctrl-C stops it.")
            await self.supervisor.watch()
        return 0 if result.account.balanced else 1

    async def stop(self) -> None:
        """Stop everything that was started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.say("stopping")
        await self.supervisor.stop()
        self.say("stopped; nothing was left running")

    def _announce(self, *, kilometres: bool) -> None:
        flights_ = f"{self._wanted.flights:,} flights of " if self._wanted.flights else ""
        pace = (
            "as fast as it goes"
            if self._wanted.speed == math.inf
            else f"{self._wanted.speed:,.0f} times as fast as it was"
        )
        self.console.print(
            f"[bold]Rivermill demo[/]: {flights_}the first {self._wanted.days} days of flights out of New York in 2013, {pace}.\n"
            "An event comes at the scheduled departure, its label (more than 15 minutes late?) at the landing, hours later.\n"
        )
        if self._wanted.dirt:
            kinds = ", ".join(kind.replace("_", " ") for kind in (*EVENT_DIRT, *LABEL_DIRT))
            self.console.print(
                f"On purpose, {self._wanted.dirt:.1%} of the flights are soiled (seed {self._wanted.seed}): {kinds}."
            )
            if kilometres:
                self.console.print(
                    "And from 14 to 21 February distances arrive in kilometres: an alert must name `distance`."
                )
            self.console.print()

    async def _follow_alerts(self) -> None:
        deployment = self.supervisor.deployment
        found = follow.records(deployment.settings, deployment.topic("alerts"), last=None)
        async with aclosing(found):
            async for record in found:
                alert = _ALERT.decode(record.value)
                self.alerts.append(alert)
                self.incidents[alert.incident_id] = alert
                if alert.state != "updated":
                    self.say(f"[yellow]{live_view.incident_line(alert)}[/]")

    async def _watch(self, replay: Replay, scraper: Scraper) -> bool:
        """Replay and show; then wait until all is worked off. True when it is."""
        began = time.monotonic()
        work = asyncio.create_task(self._replay(replay, began))
        live = Live(console=self.console, transient=True) if self.console.is_terminal else None
        told = 0.0
        try:
            with live or nullcontext():
                while not work.done():
                    sample = await scraper.sample()
                    self._notice(sample)
                    head = self._head(replay)
                    if live is not None:
                        live.update(live_view.view(head, sample, self._before, self.incidents), refresh=True)
                    elif time.monotonic() - told >= _LINE_EVERY_S:
                        told = time.monotonic()
                        self.say(live_view.line(head, sample, self._before, self.incidents))
                    self._before = sample
                    shown = live is not None or self._first_prediction_s is None
                    await asyncio.wait([work], timeout=_LOOK_EVERY_S if shown else _LINE_EVERY_S)
            return await work
        finally:
            replay.stop()
            if replay.progress.finished:  # it waits for the services to settle
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _replay(self, replay: Replay, began: float) -> bool:
        await replay.run()
        if not replay.progress.finished:
            return False
        self.say(_replayed(replay))

        def progress(behind: object) -> None:
            if self._predicted_s is None and isinstance(behind, dict) and not _PREDICTING & behind.keys():
                self._predicted_s = time.monotonic() - began

        return await wait_settled(self.supervisor.deployment, _SETTLE_S, progress)

    def _notice(self, sample: Sample) -> None:
        if self._first_prediction_s is None and sample.total("score", "predictions"):
            self._first_prediction_s = time.monotonic() - self._began
            self.say(f"[bold]first prediction[/] {self._first_prediction_s:.1f} s after the start")

    def _head(self, replay: Replay) -> str:
        current = replay.progress.current
        day = f"{datetime.fromtimestamp(current, UTC):%Y-%m-%d %H:%M}" if current else "reading the flights"
        return f"{day}  {replay.progress.events:,} events, {replay.progress.labels:,} labels"

    async def _result(self, replay: Replay, sample: Sample, *, settled: bool) -> Result:
        wanted, deployment = self._wanted, self.supervisor.deployment
        metrics = await demo_end.final_metrics(self.supervisor, sample)
        current = datetime.fromtimestamp(replay.progress.current or 0, UTC)
        found, recovered = demo_end.drift_told(self.alerts, current) if self._wanted.dirt else (None, None)
        took = self._predicted_s
        return Result(
            days=wanted.days, speed=str(wanted.speed), first_prediction_s=self._first_prediction_s, predicted_in_s=took,
            throughput=replay.progress.events / took if took else None, freshness_median_s=sample.freshness_median_s,
            label_lag_median_s=sample.label_lag_median_s, candidate=sample.candidate, metrics=metrics,
            processes=await demo_end.processes(self.supervisor, sample), restarts=self.supervisor.restarts,
            incidents=self.alerts, drift_found=found, drift_recovered=recovered, settled=settled,
            account=await take_account(deployment), compared=await self._compared(sample, metrics),
        )  # fmt: skip

    async def _compared(self, sample: Sample, metrics: dict[str, dict[str, float]]) -> Compared | None:
        """A replay at full speed has no pace at which labels could be late, and is not compared."""
        wanted, late = self._wanted, sample.label_lag_median_s
        if late is None or wanted.speed == math.inf:
            return None
        lag = timedelta(seconds=max(0.0, late * wanted.speed))
        self.say("backtesting the same events, to compare")
        replayed = (wanted.days, wanted.dirt, wanted.seed, wanted.flights)
        return await compared(self.supervisor.deployment.spec, replayed, lag, sample.candidate, metrics)


def _joined(first: Send | None, rest: Iterator[Send]) -> Iterator[Send]:
    return rest if first is None else chain((first,), rest)


def _replayed(replay: Replay) -> str:
    progress = replay.progress
    soiled = progress.dirt.total() - progress.dirt[_KILOMETRES]
    kilometres = f", {progress.dirt[_KILOMETRES]:,} events in kilometres" if progress.dirt[_KILOMETRES] else ""
    return f"replayed {progress.events:,} events and {progress.labels:,} labels: {soiled:,} soiled{kilometres}"
