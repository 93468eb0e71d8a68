"""``rivermill broker``: the embedded broker by itself, in the background."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from services.cli import broker_background
from services.cli.target import DataDir, Json, running_here
from services.cli.terminal import console, print_json
from services.runtime.settings import Settings

command = App(
    name="broker", help="Apache Kafka on this machine, loopback only, in the background: start, stop, status."
)


@command.command
def start(
    *,
    port: Annotated[
        int,
        Parameter(
            help="Port to listen on; 0 takes the last one again, or a free one.",
            validator=validators.Number(gte=0, lte=65535),
        ),
    ] = 0,
    data_dir: DataDir = Settings.data_dir,
) -> int:
    """Start Apache Kafka in the background and print its address; one that runs already is found.

    The first start fetches Kafka's jars (44 MB). `rivermill up` on the same data directory uses this broker.

    Try `export RIVERMILL_BROKER=$(rivermill broker start --port 9092)`.
    """
    screen = console()
    screen.stderr = True
    print(broker_background.start(_directory(data_dir), port=port, progress=screen.print))
    return 0


@command.command
def stop(*, data_dir: DataDir = Settings.data_dir) -> int:
    """Stop the broker that `rivermill broker start` has started; its data stays.

    Try `rivermill broker stop`.
    """
    stopped = broker_background.stop(_directory(data_dir))
    print("stopped" if stopped else f"no broker runs in the background on {_directory(data_dir)}")
    return 0


@command.command
def status(*, data_dir: DataDir = Settings.data_dir, json: Json = False) -> int:
    """Tell whether a broker runs on the data directory, and where; the exit code is 1 when none does.

    Try `rivermill broker status`.
    """
    address = broker_background.address(_directory(data_dir))
    found = running_here(data_dir)
    if address is None and found is not None:
        address = found.broker
    if json:
        print_json({"running": address is not None, "address": address})
    else:
        print(f"runs at {address}" if address else f"no broker runs on {_directory(data_dir)}")
    return 0 if address else 1


def _directory(data_dir: Path) -> Path:
    return data_dir / "broker"
