"""``rivermill demo``: real flights through everything, on this machine, ending with an account that must balance."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

import examples.flights
from examples.flights.data import YEAR_DAYS
from examples.flights.dirt import SEED, SHARE
from examples.flights.replay import DAYS, SPEED, speed_of
from services.cli import target
from services.cli.demo_run import Demo, Wanted
from services.cli.interrupt import until_signal
from services.cli.running import LOCK, locked
from services.cli.supervise import Supervisor
from services.runtime.settings import SettingsError

PIPELINE = Path(examples.flights.__file__).parent / "pipeline.toml"
MARK = "made-by-rivermill-demo"
"""The file that tells a demo's data directory, which the next demo may empty, from any other."""


def demo(
    *,
    days: Annotated[
        int, Parameter(help="How many days of 2013 to replay.", validator=validators.Number(gte=1, lte=YEAR_DAYS))
    ] = DAYS,
    flight_count: Annotated[
        int | None,
        Parameter(name="--flights", help="At most so many flights.", validator=validators.Number(gte=1)),
    ] = None,
    speed: Annotated[str, Parameter(help="How much faster than it was: 600x, 40000x, max.")] = f"{SPEED:.0f}x",
    exit_: Annotated[bool, Parameter(name="--exit", negative="", help="Stop when the account is drawn up.")] = False,
    seed: Annotated[
        int, Parameter(help="Which flights are soiled, and how.", validator=validators.Number(gte=0, lt=2**32))
    ] = SEED,
    dirt: Annotated[
        float,
        Parameter(
            help="The share of flights that is soiled; 0 also leaves out the drift.",
            validator=validators.Number(gte=0, lte=1),
        ),
    ] = SHARE,
    data_dir: Annotated[
        Path | None, Parameter(help="Emptied at the start. Default: `demo` in RIVERMILL_DATA_DIR, or `.data/demo`.")
    ] = None,
    json: Annotated[
        Path | None, target.WriteTo, Parameter(name="--json", help="Write what was measured to this file.")
    ] = None,
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
    data_dir = data_dir or target.default_data_dir() / target.DEMO_DIR
    _empty(data_dir)
    supervisor = Supervisor(PIPELINE, data_dir, env=_environment(), usual_ports=True)
    run = Demo(supervisor, Wanted(days, flight_count, pace, seed, dirt))
    code = asyncio.run(until_signal(run.run(stay=not exit_, report=json), run.stop()))
    return 0 if code is None else code


def _environment() -> dict[str, str]:
    """The caller's, without what would lead the demo to another broker or registry."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RIVERMILL_") or name in _KEPT}


_KEPT = ("RIVERMILL_CACHE_DIR", "RIVERMILL_MAVEN_URL", "RIVERMILL_LOG_LEVEL", "RIVERMILL_DELIVERY")


def _empty(data_dir: Path) -> None:
    """Empty the data directory of an earlier demo, and mark it as a demo's; SettingsError for any other that holds something."""
    kept = {MARK, LOCK}
    try:
        found = {each.name for each in data_dir.iterdir()} if data_dir.exists() else set()
    except OSError as error:
        raise SettingsError(f"{data_dir} is no directory ({error.strerror}): choose another --data-dir") from error
    if found - kept and MARK not in found:
        raise SettingsError(
            f"{data_dir} holds something that no demo has made (it lacks {MARK}), and a demo empties its directory: choose "
            "another --data-dir, or remove it yourself"
        )
    with locked(data_dir):
        (data_dir / MARK).touch()  # before anything goes, so that an interrupted demo can be started again
        for each in data_dir.iterdir():
            if each.name not in kept:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink(missing_ok=True)
