"""``rivermill tail``: the records of any stream, as they come, one JSON line each."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console

from schemas.codec import from_ms
from schemas.parameters import LiveParameters
from schemas.topics import STREAMS
from services.cli import follow, target
from services.cli.deadletters import letter
from services.runtime.launch import Deployment
from services.runtime.settings import Settings, SettingsError

_PARAMETERS = msgspec.msgpack.Decoder(LiveParameters)
_SHOWN_BYTES = 2000
_MOST_LAST = 100_000
"""They are held in memory; `--from-beginning` holds none."""


def tail(
    stream: Annotated[str, Parameter(help=f"One of {', '.join(STREAMS)}.")],
    /,
    pipeline: target.Pipeline = None,
    *,
    from_beginning: Annotated[bool, Parameter(negative="", help="Begin with the oldest record.")] = False,
    last: Annotated[
        int,
        Parameter(help="Begin with so many of the newest.", validator=validators.Number(gte=0, lte=_MOST_LAST)),
    ] = 0,
    limit: Annotated[
        int | None, Parameter(help="Stop after so many records.", validator=validators.Number(gte=1))
    ] = None,
    follow_on: Annotated[
        bool, Parameter(name="--follow", help="Wait for more when all there is has been shown.")
    ] = True,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Show the records of a stream, committed ones only, until Ctrl-C.

    Every line is JSON: `at` (when the raw record came in), `partition`, `offset`, `key`, `value`. A dead letter also
    has its stage, rule, reason and origin. Live parameters are summarised, since weights say little to the eye.

    Try `rivermill tail predictions`, `rivermill tail alerts --from-beginning --no-follow`, or
    `rivermill tail deadletter orders.toml --last 5 --broker kafka-1:9092 | jq .rule`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    asyncio.run(_tail(deployment, stream, None if from_beginning else last, limit, follow_on))
    return 0


async def _tail(deployment: Deployment, stream: str, last: int | None, limit: int | None, more: bool) -> None:
    screen = Console(highlight=False, soft_wrap=True)
    left = limit
    async with aclosing(
        follow.records(deployment.settings, full_name(deployment, stream), last=last, follow=more)
    ) as all_:
        async for record in all_:
            line = msgspec.json.encode(shown(stream, record)).decode()
            if screen.is_terminal:
                screen.print_json(line, indent=None)
            else:
                print(line, flush=True)
            left = None if left is None else left - 1
            if left == 0:
                return


def full_name(deployment: Deployment, stream: str) -> str:
    """The topic of a stream's short (or full) name; SettingsError for one that does not exist."""
    short = stream.removeprefix(f"{deployment.name}.")
    if short not in STREAMS:
        raise SettingsError(f"there is no stream {stream!r}: expected one of {', '.join(STREAMS)}")
    return {"events.raw": deployment.events_topic, "labels.raw": deployment.labels_topic}.get(
        short, deployment.topic(short)
    )


def shown(stream: str, record: Any) -> dict[str, Any]:
    """One record as ``tail`` shows it."""
    head: dict[str, Any] = {
        "at": from_ms(record.timestamp),
        "partition": record.partition,
        "offset": record.offset,
        "key": text(record.key),
    }
    if stream.endswith("deadletter"):
        return head | letter(record)
    if stream.endswith("parameters"):
        return head | {"value": _parameters(record.value)}
    return head | {"value": _json(record.value)}


def text(value: bytes | None) -> str | None:
    """Bytes for the eye: what is no UTF-8 is escaped, what is long is cut."""
    if value is None:
        return None
    cut = value[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return cut if len(value) <= _SHOWN_BYTES else f"{cut}… ({len(value):,} bytes)"


def _json(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(value)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text(value)


def _parameters(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        live = _PARAMETERS.decode(value)
    except msgspec.MsgspecError as error:
        return f"not live parameters: {error}"
    return {
        "log_id": live.log_id,
        "examples_offset": live.examples_offset,
        "spec": live.spec,
        "label_came_in": from_ms(live.label_came_in_ms) if live.label_came_in_ms else None,
        "candidates": {
            name: {"version": each.version, "bytes": len(each.parameters)} for name, each in live.candidates.items()
        },
        "encodings_bytes": len(live.encodings),
        "bytes": len(value),
    }
