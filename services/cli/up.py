"""``rivermill up``: everything that a pipeline needs, on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console

from services.cli.interrupt import until_signal
from services.cli.supervise import Supervisor
from services.cli.target import IsAddress
from services.runtime.settings import Settings


def up(
    pipeline: Annotated[Path, Parameter(help="The pipeline file; `rivermill check` explains it.")],
    /,
    *,
    broker: Annotated[
        str | None,
        IsAddress,
        Parameter(env_var="RIVERMILL_BROKER", help="A Kafka to use, host:port. Without it the embedded one runs."),
    ] = None,
    data_dir: Annotated[
        Path,
        Parameter(
            env_var="RIVERMILL_DATA_DIR",
            help="Where logs, the signing key, the registry's database and the embedded broker's data lie.",
        ),
    ] = Settings.data_dir,
    processes: Annotated[
        int,
        Parameter(help="How many processes of each Kafka service.", validator=validators.Number(gte=1, lte=32)),
    ] = 1,
) -> int:
    """Run a pipeline on this machine: broker, topics, registry and services.

    What dies is started again. Ctrl-C stops everything, in order, within ten seconds; starting it again goes on where
    it stopped. Logs are in `DATA_DIR/logs`, one a process. Services take their settings from `RIVERMILL_*` variables.

    Try `rivermill up examples/flights/pipeline.toml`, or with a Kafka of your own
    `rivermill up orders.toml --broker kafka-1:9092,kafka-2:9092 --processes 2`.
    """
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:7.1f} s[/]  {line}", markup=True, soft_wrap=True)

    supervisor = Supervisor(pipeline, data_dir, broker=broker, processes=processes, usual_ports=True, say=say)
    asyncio.run(until_signal(_run(supervisor, console), _stop(supervisor, say)))
    return 0


async def _run(supervisor: Supervisor, console: Console) -> None:
    await supervisor.start()
    deployment = supervisor.deployment
    console.print(
        f"\n[bold]{deployment.name}[/] runs. Send events to [bold]{deployment.events_topic}[/] and labels to "
        f"[bold]{deployment.labels_topic}[/] on {deployment.settings.broker}; predictions are in "
        f"[bold]{deployment.topic('predictions')}[/].\n"
        f"  registry  {deployment.settings.registry_url}"
    )
    for name, url in supervisor.endpoints.items():
        console.print(f"  {name:<9} {url}/metrics")
    console.print(
        f"  logs      {supervisor.data_dir / 'logs'}\n  look      rivermill status, rivermill tail predictions\n"
    )
    await supervisor.watch()


async def _stop(supervisor: Supervisor, say: Callable[[str], None]) -> None:
    runs = bool(supervisor.pids)
    if runs:
        say("stopping")
    await supervisor.stop()
    if runs:
        say("stopped")
