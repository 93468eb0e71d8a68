"""``rivermill top``: a live view of any pipeline that runs, from its services' metrics and its alerts."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Annotated

from aiokafka.errors import KafkaError
from cyclopts import Parameter, validators
from rich.live import Live

from schemas.alerts import Alert
from services.cli import live_view, target
from services.cli.interrupt import until_signal
from services.cli.scrape import Sample, Scraper
from services.cli.status import open_incidents
from services.cli.terminal import console
from services.cli.top_view import screen
from services.runtime.errors import OperatorError
from services.runtime.launch import Deployment
from services.runtime.settings import Settings, SettingsError, base_url

_INCIDENTS_EVERY_S = 5.0
_UNNAMED = "not known: name the pipeline file"


def top(
    pipeline: target.Pipeline = None,
    *,
    url: Annotated[
        list[str] | None, Parameter(help="Base URL of a service; again for more. Default: those running here.")
    ] = None,
    every: Annotated[float, Parameter(help="Seconds between two looks.", validator=validators.Number(gte=0.1))] = 2.0,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Watch a running pipeline: stages, processes, labels, dead letters, the champion, open incidents.

    From the services' own metrics (`--url`, or what runs on this machine) and the alerts topic. q or Ctrl-C ends it.
    Where there is no terminal it prints one line a look.

    Try `rivermill top`, or `rivermill top orders.toml --url http://10.0.0.7:9101 --url http://10.0.0.7:9102`.
    """
    here = target.running_here(data_dir)
    endpoints = {each.partition("://")[2]: each for each in (base_url(it, "--url") for it in url or [])}
    endpoints = endpoints or (here.endpoints if here else {})
    if not endpoints:
        raise SettingsError(
            f"which services? Nothing runs on the data directory {data_dir}: name them by --url http://host:port, or the "
            "--data-dir of a running `rivermill up`"
        )
    known = pipeline is not None or here is not None
    deployment = target.deployment(pipeline, broker, data_dir) if known else None
    watch = Watch(endpoints, deployment, every)
    asyncio.run(until_signal(watch.run(), watch.stop()))
    return 0


class Watch:
    """Looks at the services again and again, and shows what it sees."""

    def __init__(self, endpoints: Mapping[str, str], deployment: Deployment | None, every: float) -> None:
        self._scraper = Scraper(endpoints)
        self._deployment = deployment
        self._every = every
        self._ended = asyncio.Event()
        self._incidents: dict[str, Alert] | str = {} if deployment else _UNNAMED
        self._following: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until q is pressed."""
        out = console()
        live = Live(console=out, screen=True, auto_refresh=False) if out.is_terminal else None
        if self._deployment is not None:
            self._following = asyncio.create_task(self._follow(self._deployment))
        before: Sample | None = None
        with _keys(self._pressed), live or nullcontext():
            while not self._ended.is_set():
                now = await self._scraper.sample()
                if live is None:
                    open_ones = self._incidents if isinstance(self._incidents, dict) else {}
                    print(live_view.line(self._head(), now, before, open_ones), flush=True)
                else:
                    live.update(screen(self._head(), now, before, self._incidents, out.height), refresh=True)
                before = now
                await self._pause()

    async def stop(self) -> None:
        """Close what was opened."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._scraper.close()

    def _head(self) -> str:
        place = f"{self._deployment.name} on {self._deployment.settings.broker}" if self._deployment else "rivermill"
        return f"{place}  {time.strftime('%H:%M:%S')}  every {self._every:g} s  q ends"

    def _pressed(self, key: str) -> None:
        if key in ("q", "Q"):
            self._ended.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every):
                await self._ended.wait()
        except TimeoutError:
            pass

    async def _follow(self, deployment: Deployment) -> None:
        while True:
            try:
                self._incidents = {alert.incident_id: alert for alert in await open_incidents(deployment)}
            except (OperatorError, KafkaError, OSError) as error:
                self._incidents = f"not known: {str(error) or type(error).__name__}"
            await asyncio.sleep(_INCIDENTS_EVERY_S)


@contextmanager
def _keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Hand over each key as it is pressed, without its line being ended; nothing where standard input is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, lambda: pressed(os.read(descriptor, 1).decode(errors="replace")))
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
