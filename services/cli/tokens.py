"""``rivermill tokens``: who may use a registry that is not for this machine alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from services.cli import target
from services.cli.terminal import console, print_json, table
from services.registry import tokens
from services.registry.database import Database, open_database
from services.registry.settings import registry_settings
from services.runtime.settings import Settings

command = App(
    name="tokens",
    help="Make, list and revoke the registry's API tokens, in its database: `RIVERMILL_REGISTRY_DATABASE`, or the file in "
    "the data directory. The registry may run meanwhile.",
)
Scope = Literal["read", "publish", "promote"]
Folder = Annotated[Path, Parameter(env_var="RIVERMILL_DATA_DIR", help="The data directory of the registry.")]


@contextmanager
def _database(data_dir: Path, *, make: bool = False) -> Iterator[Database]:
    settings = registry_settings({**os.environ, "RIVERMILL_DATA_DIR": str(data_dir)})
    database = open_database(settings.database, make=make)
    try:
        yield database
    finally:
        database.close()


def _audit(act: str, name: str, database: Database, **more: object) -> None:
    """Tell on standard error who did what where, in a line as those of the registry's own log."""
    line = {
        "event": "audit", "who": f"user {os.getuid()} of this machine", "act": act, "token": name,
        "database": database.place, **more, "timestamp": datetime.now(UTC),
    }  # fmt: skip
    print(msgspec.json.encode(line).decode(), file=sys.stderr)


@command.command
def create(
    name: Annotated[str, Parameter(help="What the token is called in logs: whose it is.")],
    *,
    scope: Annotated[list[Scope], Parameter(help="What it is for; may be repeated. Every token reads.")],
    data_dir: Folder = Settings.data_dir,
) -> int:
    """Make a token and print it, once: the registry keeps only its hash.

    The learner needs `publish`, scoring `read`, people who decide `promote`. Give it to them as
    `RIVERMILL_REGISTRY_TOKEN`.

    Try `rivermill tokens create learner --scope publish > learner.token`.
    """
    with _database(data_dir, make=True) as database:
        secret = tokens.create(database, name, scope, datetime.now(UTC))
        _audit("a token is made, which cannot be shown again", name, database, scopes=scope)
    print(secret)
    return 0


@command.command(name="list")
def list_(*, data_dir: Folder = Settings.data_dir, json: target.Json = False) -> int:
    """List the tokens: what each is for, when it was used last (to the minute), whether it was revoked.

    Try `rivermill tokens list`.
    """
    with _database(data_dir) as database:
        found = tokens.listed(database)
    if json:
        print_json(found)
        return 0
    rows = [
        (each.name, " ".join(each.scopes), _time(each.created_at), _time(each.used_at), _time(each.revoked_at))
        for each in found
    ]
    console().print(table("", ("name", "for", "made (UTC)", "last used", "revoked"), rows))
    return 0


@command.command
def revoke(name: Annotated[str, Parameter(help="Which token.")], *, data_dir: Folder = Settings.data_dir) -> int:
    """Make a token worthless, from the next request on.

    Try `rivermill tokens revoke learner`.
    """
    with _database(data_dir) as database:
        tokens.revoke(database, name, datetime.now(UTC))
        _audit("a token is revoked", name, database)
    print(f"The token {name} is revoked.")
    return 0


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if moment is not None else "-"
