"""``rivermill demo``: real flights through everything, on this machine, ending with an account that must balance."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import time
from contextlib import aclosing, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

import examples.flights
from examples.flights.data import flights
from examples.flights.dirt import EVENT_DIRT, LABEL_DIRT, SEED, SHARE, soil
from examples.flights.replay import DAYS, SPEED, Replay, speed_of
from schemas.alerts import Alert
from services.cli import demo_end, follow, live_view
from services.cli.demo_end import Result
from services.cli.interrupt import until_signal
from services.cli.running import locked
from services.cli.scrape import Sample, Scraper
from services.cli.settle import take_account, wait_settled
from services.cli.supervise import Supervisor
from services.cli.target import DEMO_DIR
from services.runtime.settings import Settings, SettingsError

PIPELINE = Path(examples.flights.__file__).parent / "pipeline.toml"
_LOOK_EVERY_S, _LINE_EVERY_S, _SETTLE_S = 1.0, 5.0, 120.0
_ALERT = msgspec.json.Decoder(Alert)


def demo(
    *,
    days: Annotated[int, Parameter(help="How many days of 2013 to replay, 1 to 365.")] = DAYS,
    flight_count: Annotated[int | None, Parameter(name="--flights", help="At most so many flights.")] = None,
    speed: Annotated[str, Parameter(help="How much faster than it was: 600x, 40000x, max.")] = f"{SPEED:.0f}x",
    exit_: Annotated[bool, Parameter(name="--exit", negative="", help="Stop when the account is drawn up.")] = False,
    seed: Annotated[int, Parameter(help="Which flights are soiled, and how.")] = SEED,
    dirt: Annotated[float, Parameter(help="The share of flights that is soiled; 0 also leaves out the drift.")] = SHARE,
    data_dir: Annotated[Path, Parameter(help="Emptied at the start.")] = Settings.data_dir / DEMO_DIR,
    json: Annotated[Path | None, Parameter(name="--json", help="Write what was measured to this file.")] = None,
) -> int:
    """Replay the flights out of New York in 2013 through everything, and watch a model learn which will be late.

    Starts Kafka, the registry and the four services; soils a share of the records and lets distances arrive in
    kilometres for a week; ends with an account in which every record must be found, or the exit code is 1. Then it runs
    on until Ctrl-C, so that you can look around, unless `--exit` is given.

    Try `rivermill demo`, `rivermill demo --days 7 --exit`, or `rivermill demo --speed max --days 365`.
    """
    try:
        pace = speed_of(speed)
    except ValueError as error:
        raise SettingsError(f"--speed is {speed!r}: expected a number such as 600x or 40000x, or max") from error
    if not 1 <= days <= 365 or not 0 <= dirt <= 1:  # noqa: PLR2004 - a year
        raise SettingsError("expected --days from 1 to 365 and --dirt from 0 to 1")
    _empty(data_dir)
    supervisor = Supervisor(PIPELINE, data_dir, env=_environment(), usual_ports=True)
    run = Demo(supervisor, Wanted(days, flight_count, pace, seed, dirt))
    code = asyncio.run(until_signal(run.run(stay=not exit_, report=json), run.stop()))
    return 0 if code is None else code


@dataclass(frozen=True)
class Wanted:
    """What to replay: ``speed`` is event time over wall time, infinite for as fast as it goes."""

    days: int
    flights: int | None
    speed: float
    seed: int
    dirt: float


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
        self._announce()
        await self.supervisor.start()
        deployment = self.supervisor.deployment
        self._tasks.append(asyncio.create_task(self._follow_alerts()))
        scraper = Scraper(self.supervisor.endpoints)
        sends = soil(
            flights(self._wanted.days, self._wanted.flights),
            self._wanted.dirt,
            self._wanted.seed,
            kilometres=self._wanted.dirt > 0,
        )
        replay = Replay(deployment.settings.kafka(), sends, deployment.name, self._wanted.speed)
        try:
            settled = await self._watch(replay, scraper)
            result = await self._result(replay, await scraper.sample(), settled=settled)
        finally:
            await scraper.close()
        demo_end.show(self.console, result)
        if report is not None:
            await asyncio.to_thread(report.write_bytes, msgspec.json.format(msgspec.json.encode(result)))
        if stay:
            demo_end.look_next(self.console, self.supervisor, self.supervisor.data_dir)
            self.console.print("\nEverything runs on; Ctrl-C stops it.")
            await asyncio.Event().wait()
        return 0 if result.account.balanced else 1

    async def stop(self) -> None:
        """Stop everything that was started."""
        for task in self._tasks:
            task.cancel()
        self.say("stopping")
        await self.supervisor.stop()
        self.say("stopped; nothing was left running")

    def _announce(self) -> None:
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
                f"On purpose, {self._wanted.dirt:.1%} of the flights are soiled (seed {self._wanted.seed}): {kinds}.\n"
                "And from 14 to 21 February distances arrive in kilometres: an alert must name `distance`.\n"
            )

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
                await asyncio.wait([work], timeout=_LOOK_EVERY_S)
        return await work

    async def _replay(self, replay: Replay, began: float) -> bool:
        await replay.run()
        self.say(f"replayed: {replay.progress.line()}")

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
        wanted = self._wanted
        current = datetime.fromtimestamp(replay.progress.current or 0, UTC)
        found, recovered = demo_end.drift_told(self.alerts, current) if self._wanted.dirt else (None, None)
        took = self._predicted_s
        return Result(
            days=wanted.days, speed=str(wanted.speed), first_prediction_s=self._first_prediction_s, predicted_in_s=took,
            throughput=replay.progress.events / took if took else None, freshness_median_s=sample.freshness_median_s,
            candidate=sample.candidate, metrics=await demo_end.final_metrics(self.supervisor, sample),
            processes=await demo_end.processes(self.supervisor, sample), restarts=self.supervisor.restarts,
            incidents=self.alerts, drift_found=found, drift_recovered=recovered, settled=settled,
            account=await take_account(self.supervisor.deployment),
        )  # fmt: skip


_PREDICTING = {"raw events", "re-keyed", "clean events", "scoring"}
"""The equations that are right once every raw event has its prediction."""


def _environment() -> dict[str, str]:
    """The caller's, without what would lead the demo to another broker or registry."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RIVERMILL_") or name in _KEPT}


_KEPT = ("RIVERMILL_CACHE_DIR", "RIVERMILL_MAVEN_URL", "RIVERMILL_LOG_LEVEL", "RIVERMILL_DELIVERY")


def _empty(data_dir: Path) -> None:
    """Empty the data directory of an earlier demo; anything else is left alone."""
    if not data_dir.exists() or not any(data_dir.iterdir()):
        return
    if not (data_dir / "up.lock").exists():
        raise SettingsError(f"{data_dir} holds something that no demo has made: choose another --data-dir")
    with locked(data_dir), suppress(FileNotFoundError):
        for each in data_dir.iterdir():
            if each.name != "up.lock":
                shutil.rmtree(each) if each.is_dir() else each.unlink()
