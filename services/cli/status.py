"""``rivermill status``: where a pipeline stands, read from its topics alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from aiokafka import TopicPartition
from cyclopts import Parameter
from rich.markup import escape

from schemas.alerts import Alert
from schemas.models import AliasRecord
from schemas.state import Checkpoint
from services.cli import follow, target
from services.cli.account import Account
from services.cli.positions import STAGES, checkpoints, offsets
from services.cli.settle import take_account
from services.cli.terminal import account_lines, console, print_json, table
from services.runtime.launch import Deployment
from services.runtime.settings import Settings

_ALERT = msgspec.json.Decoder(Alert)
_ALIAS = msgspec.json.Decoder(AliasRecord)
_IN = {"clean": ("events_in", "labels_in"), "score": ("in",), "join": ("predictions", "labels"), "train": ("examples",),
       "summarise": ("predictions", "examples"), "detect": ("summaries",)}  # fmt: skip


class Lane(msgspec.Struct):
    """One lane; ``lag`` is in offsets, in which transaction markers count: a few remain when all is read."""

    stage: str
    lane: int
    lag: dict[str, int]
    watermark: Any
    snapshot: str | None
    totals: dict[str, int]


class Status(msgspec.Struct):
    """Where a pipeline stands."""

    pipeline: str
    broker: str
    spec: str
    lanes: list[Lane]
    aliases: list[AliasRecord]
    incidents: list[Alert]
    account: Account


def status(
    pipeline: target.Pipeline = None,
    *,
    account: Annotated[
        bool, Parameter(negative="", help="Also check the account against the topics, record by record.")
    ] = False,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """Show where a pipeline stands: every stage's lanes, the champion, open incidents, and the account.

    The account balances when nothing is on its way between two stages. With `--account` the exit code is 1 if it does
    not.

    Try `rivermill status`, or `rivermill status examples/flights/pipeline.toml --account --json`.
    """
    deployment = target.deployment(pipeline, broker, data_dir)
    found = asyncio.run(_status(deployment, count=account))
    if json:
        print_json(found)
    else:
        _print(found)
    return 1 if account and not found.account.balanced else 0


async def _status(deployment: Deployment, *, count: bool) -> Status:
    await follow.places(deployment.settings, deployment.topic("state.cleaning"))
    lanes = await _lanes(deployment, await checkpoints(deployment))
    return Status(
        deployment.name,
        deployment.settings.broker,
        deployment.spec_hash,
        lanes,
        await _newest(deployment, "models", _ALIAS),
        await open_incidents(deployment),
        await take_account(deployment, count=count),
    )


async def _lanes(deployment: Deployment, found: Sequence[Checkpoint]) -> list[Lane]:
    places = {TopicPartition(topic, each.lane) for each in found for topic in each.inputs}
    _, ends = await offsets(deployment.settings, places)
    return [
        Lane(
            each.stage, each.lane,
            {topic: max(0, ends[TopicPartition(topic, each.lane)] - offset) for topic, offset in each.inputs.items()},
            each.watermark, each.snapshot, each.totals,
        )
        for each in found
    ]  # fmt: skip


async def _newest(deployment: Deployment, stream: str, decoder: msgspec.json.Decoder[Any]) -> list[Any]:
    """The newest record of every key of a stream; one that this release cannot read is left out."""
    newest: dict[bytes, Any] = {}
    found = follow.records(deployment.settings, deployment.topic(stream), last=None, follow=False)
    async with aclosing(found):
        async for record in found:
            try:
                newest[record.key] = decoder.decode(record.value or b"")
            except msgspec.MsgspecError:
                newest.pop(record.key, None)
    return list(newest.values())


async def open_incidents(deployment: Deployment) -> list[Alert]:
    """The newest alert of every incident that is not resolved."""
    return [alert for alert in await _newest(deployment, "alerts", _ALERT) if alert.state != "resolved"]


def _print(found: Status) -> None:
    screen = console()
    screen.print(f"[bold]{found.pipeline}[/] on {found.broker}, spec {found.spec}\n")
    rows = [
        (
            f"{each.stage}/{each.lane}", STAGES.get(each.stage, "?"),
            sum(each.totals.get(name, 0) for name in _IN.get(each.stage, ())), sum(each.lag.values()),
            f"{each.watermark:%Y-%m-%d %H:%M:%S}" if each.watermark else "", _short(each.snapshot or ""),
        )
        for each in found.lanes
    ]  # fmt: skip
    columns = ("lane", "service", "records in", "lag", "watermark", "snapshot")
    screen.print(table("Lanes", columns, rows, right=(2, 3)))
    screen.print("[dim]lag is in offsets: transaction markers count, so a few remain when all is read[/]\n")
    for alias in found.aliases:
        how = "live" if alias.live else "pinned"
        told = f"version {alias.version} of {alias.candidate} ({how}), by {alias.actor}: {alias.reason}"
        screen.print(f"[bold]{alias.alias}[/]  {escape(told)}")
    screen.print("[bold]Incidents[/]  " + ("" if found.incidents else "none open"))
    for incident in found.incidents:
        screen.print(f"  [yellow]{incident.severity}[/] {escape(incident.summary)}")
    screen.print("\n[bold]Account[/]")
    for line in account_lines(found.account):
        screen.print(line)


def _short(snapshot: str) -> str:
    """``candidate=sha256`` pairs, the hashes as one reads them."""
    pairs = (pair.partition("=") for pair in snapshot.split())
    return " ".join(f"{name}{equals}{sha256[:12]}" for name, equals, sha256 in pairs)
