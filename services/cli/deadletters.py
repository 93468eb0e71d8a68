"""``rivermill deadletter``: what was refused, by which rule, and each record as it came."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter, validators
from rich.markup import escape

from schemas import deadletter as names
from schemas.codec import from_ms
from services.cli import follow, target
from services.cli.terminal import console, print_json, table
from services.runtime.launch import Deployment
from services.runtime.settings import Settings, SettingsError

command = App(name="deadletter", help="Look at what was refused: by which rule, and each record as it came.")
_MOST_LAST = 1000
_SHOWN = 100


@command.command(name="list")
def list_(
    pipeline: target.Pipeline = None,
    *,
    rule: Annotated[str | None, Parameter(help="Only this rule's.")] = None,
    last: Annotated[
        int, Parameter(help="Show so many of the newest.", validator=validators.Number(gte=0, lte=_MOST_LAST))
    ] = 10,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """Count dead letters by stage and rule, and show the newest.

    Try `rivermill deadletter list --rule time_ahead --last 3`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    counts, newest = asyncio.run(_read(deployment, rule, last))
    if json:
        by_rule = [{"stage": stage, "rule": named, "count": count} for (stage, named), count in counts.most_common()]
        print_json({"rules": by_rule, "newest": newest})
        return 0
    screen = console()
    screen.print(
        table("", ("stage", "rule", "records"), ((*key, count) for key, count in counts.most_common()), right=(2,))
    )
    rows = [
        (each["place"], each["rule"], escape(str(each["reason"])[:_SHOWN]), escape(str(each["value"] or "")[:_SHOWN]))
        for each in newest
    ]
    if rows:
        screen.print(table("newest", ("place", "rule", "reason", "value"), rows))
        screen.print("\n[dim]rivermill deadletter show PLACE has one whole[/]")
    return 0


@command.command
def show(
    place: Annotated[str, Parameter(help="PARTITION/OFFSET, as `deadletter list` and `tail deadletter` have it.")],
    /,
    pipeline: target.Pipeline = None,
    *,
    raw: Annotated[bool, Parameter(negative="", help="Write the original value's bytes, and nothing else.")] = False,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """Show one dead letter whole: why, where from, and the original value, byte for byte.

    Try `rivermill deadletter show 2/17` or `rivermill deadletter show 2/17 --raw | xxd | head`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    record = asyncio.run(_one(deployment, place))
    if raw:
        sys.stdout.buffer.write(record.value or b"")
        return 0
    told = {"at": f"{from_ms(record.timestamp):%Y-%m-%d %H:%M:%S.%f} UTC", "place": place, **letter(record, whole=True)}
    if json:
        print_json(told)
        return 0
    for name, value in told.items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        console().print(f"[bold]{name:<10}[/] {escape(shown)}")
    return 0


def letter(record: Any, *, whole: bool = False) -> dict[str, Any]:
    """A dead letter for the eye: its reason and origin from the headers, the producer's own headers, the value."""
    headers = {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in record.headers}
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    value: bytes | None = record.value
    return {
        "place": f"{record.partition}/{record.offset}",
        "stage": headers.get(names.STAGE),
        "rule": headers.get(names.RULE),
        "reason": headers.get(names.MESSAGE),
        "origin": "/".join(headers.get(name, "?") for name in (names.TOPIC, names.PARTITION, names.OFFSET)),
        "headers": {name: content for name, content in headers.items() if name not in ours},
        "key": None if record.key is None else record.key.decode("utf-8", "backslashreplace"),
        "size": len(value or b""),
        "value": None if value is None else (value if whole else value[:2000]).decode("utf-8", "backslashreplace"),
    }


async def _read(
    deployment: Deployment, rule: str | None, last: int
) -> tuple[Counter[tuple[str, str]], list[dict[str, Any]]]:
    counts: Counter[tuple[str, str]] = Counter()
    newest: deque[Any] = deque(maxlen=last)
    found = follow.records(deployment.settings, deployment.topic("deadletter"), last=None, follow=False)
    async with aclosing(found):
        async for record in found:
            headers = dict(record.headers)
            named = (headers.get(names.RULE) or b"?").decode("utf-8", "replace")
            if rule is None or rule == named:
                counts[(headers.get(names.STAGE) or b"?").decode("utf-8", "replace"), named] += 1
                newest.append(record)
    latest = sorted(newest, key=lambda record: record.timestamp, reverse=True)
    return counts, [letter(record) for record in latest]


async def _one(deployment: Deployment, place: str) -> Any:
    partition, _, offset = place.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise SettingsError(f"{place!r} is no place of a dead letter: expected PARTITION/OFFSET, such as 2/17")
    record = await follow.one(deployment.settings, deployment.topic("deadletter"), int(partition), int(offset))
    if record is None:
        raise SettingsError(
            f"there is no dead letter at {place} of {deployment.topic('deadletter')}: retention may have removed it"
        )
    return record
