"""The command ``rivermill produce``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from services.cli import target
from services.cli.produce import produce as send
from services.cli.produce import texts_of
from services.runtime.settings import Settings

_NEW_LINE = "\r"


def produce(
    kind: Annotated[Literal["events", "labels"], Parameter(help="What the records are.")],
    /,
    source: Annotated[
        str, Parameter(help="A .csv or .jsonl file, or - for standard input.", allow_leading_hyphen=True)
    ] = "-",
    pipeline: target.Pipeline = None,
    *,
    file_format: Annotated[
        Literal["csv", "jsonl"] | None,
        Parameter(name="--format", help="By the file's ending; standard input is jsonl."),
    ] = None,
    topic: Annotated[str | None, Parameter(help="Another topic than the pipeline's own.")] = None,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Send events or labels to a pipeline, as a producer of your own would.

    A line of JSON is sent byte for byte, a row of CSV becomes an object: numbers, `true` and `false`
    are typed, ids and categories are sent as they are written. The key is the id that the pipeline file names,
    so that nothing needs to be re-keyed.

    Try `rivermill produce events orders.csv`, or `tail -f orders.jsonl | rivermill produce events -`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    spec = deployment.spec
    wanted = topic or (deployment.events_topic if kind == "events" else deployment.labels_topic)
    key = spec.event.id if kind == "events" else spec.label.id
    texts = texts_of(spec, "event" if kind == "events" else "label")

    def progress(count: int) -> None:
        if sys.stderr.isatty():
            print(f"{count:,} sent", end=_NEW_LINE, file=sys.stderr, flush=True)

    name = source if source == "-" else Path(source)
    count = asyncio.run(
        send(
            name,
            wanted,
            deployment.settings.kafka(),
            file_format=file_format,
            key_field=key,
            texts=texts,
            progress=progress,
        )
    )
    print(f"{count:,} {kind} sent to {wanted}")
    return 0
