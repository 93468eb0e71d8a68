"""``rivermill models``: the versions in the registry, which of them are served, and changing that."""

from __future__ import annotations

import asyncio
import getpass
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from cyclopts import App, Parameter, validators
from rich.markup import escape

from schemas.models import AliasRecord
from services.cli import target
from services.cli.terminal import console, print_json, table
from services.domain.registry_api import CHAMPION, MAX_PAGE, MAX_REASON, MAX_VERSION, Alias, SetAlias, Version, legible
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryClient, RegistryError, connected
from services.runtime.settings import Settings

command = App(name="models", help="Versions in the registry: which are served, promote, roll back, pin, release.")
_T = TypeVar("_T")
_NOT_FOUND = 404


def _legible(_: object, reason: str) -> None:
    """Cyclopts's validator of a reason, as the registry would judge it."""
    if not legible(reason) or len(reason) > MAX_REASON:
        raise ValueError(f"Say why in one line of 1 to {MAX_REASON} characters: it is kept in the log for ever.")


Reason = Annotated[str, Parameter(help="Why: it is kept in the log for ever.", validator=_legible)]
AliasName = Annotated[str, Parameter(help="`champion`, or `challenger-CANDIDATE`.")]
VersionNumber = Annotated[
    int,
    Parameter(help="A version, as `models list` has it.", validator=validators.Number(gte=1, lte=MAX_VERSION)),
]
Newest = Annotated[int, Parameter(help="Show so many of the newest.", validator=validators.Number(gte=1, lte=MAX_PAGE))]


@command.command(name="list")
def list_(
    pipeline: target.Pipeline = None,
    *,
    candidate: Annotated[str | None, Parameter(help="Only this candidate's.")] = None,
    limit: Newest = 20,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """List the newest versions and what each alias names.

    Try `rivermill models list --candidate logistic`.
    """

    async def ask(client: RegistryClient, name: str) -> tuple[dict[str, Alias], list[Version]]:
        page = await client.versions(name, candidate=candidate, limit=limit)
        return await client.aliases(name), list(page.items)

    deployment = target.deployment(pipeline, None, data_dir)
    aliases, versions = _ask(deployment, ask)
    if json:
        print_json({"aliases": aliases, "versions": versions})
        return 0
    named = {alias.version: name for name, alias in aliases.items()}
    rows = [
        (
            each.version, each.candidate, f"{each.at:%Y-%m-%d %H:%M:%S}", each.examples_offset, each.size, each.state,
            _metrics(each.metrics), named.get(each.version, ""),
        )
        for each in versions
    ]  # fmt: skip
    columns = ("version", "candidate", "at (UTC)", "examples", "bytes", "state", "metrics", "alias")
    console().print(table(deployment.name, columns, rows, right=(0, 3, 4)))
    for name, alias in aliases.items():
        console().print(f"[bold]{name}[/]: {_served(alias)}")
    return 0


@command.command
def show(
    version: VersionNumber,
    /,
    pipeline: target.Pipeline = None,
    *,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """Show one version whole: what it was learned from, its metrics, its snapshot's hash.

    Try `rivermill models show 12`.
    """
    deployment = target.deployment(pipeline, None, data_dir)
    found = _ask(deployment, lambda client, name: client.version(name, version))
    if json:
        print_json(found)
        return 0
    for field in found.__struct_fields__:
        value = getattr(found, field)
        console().print(f"[bold]{field:<16}[/] {escape(_metrics(value) if field == 'metrics' else str(value))}")
    return 0


@command.command
def log(
    pipeline: target.Pipeline = None,
    *,
    limit: Newest = 20,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """Show who changed which alias, when and why.

    Try `rivermill models log`.
    """
    deployment = target.deployment(pipeline, None, data_dir)
    page = _ask(deployment, lambda client, name: client.log(name, limit=limit))
    if json:
        print_json(page.items)
        return 0
    rows = [
        (
            f"{each.at:%Y-%m-%d %H:%M:%S}", each.alias, f"{each.previous or 'none'} → {each.version}", each.candidate,
            "follows" if each.live else "pinned", each.actor, escape(each.reason),
        )
        for each in page.items
    ]  # fmt: skip
    console().print(table("", ("at (UTC)", "alias", "version", "candidate", "how", "actor", "reason"), rows))
    return 0


@command.command
def promote(
    version: VersionNumber,
    reason: Reason,
    /,
    pipeline: target.Pipeline = None,
    *,
    alias: AliasName = CHAMPION,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Make the candidate of a version the champion, and let the alias follow its newest state.

    Try `rivermill models promote 12 "lower loss for a week"`.
    """
    return _set(pipeline, data_dir, alias, SetAlias(version, live=True, reason=reason))


@command.command
def pin(
    version: VersionNumber,
    reason: Reason,
    /,
    pipeline: target.Pipeline = None,
    *,
    alias: AliasName = CHAMPION,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Serve exactly this version until it is released; learning goes on.

    Try `rivermill models pin 12 "audit: scores must not move this week"`.
    """
    return _set(pipeline, data_dir, alias, SetAlias(version, live=False, reason=reason))


@command.command
def rollback(
    reason: Reason,
    /,
    pipeline: target.Pipeline = None,
    *,
    alias: AliasName = CHAMPION,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """Serve what the alias named before it was last changed to another version; pinned, since learning goes on from where it is.

    With `models pin VERSION` any other version can be gone back to; `models release` follows the newest again.

    Try `rivermill models rollback "scores jumped after the promotion"`.
    """

    async def ask(client: RegistryClient, name: str) -> Alias:
        now = (await client.aliases(name)).get(alias)
        changes = (await client.log(name, limit=500)).items
        last = next(
            (each for each in changes if each.alias == alias and each.previous not in (None, each.version)), None
        )
        if now is None or last is None or last.previous is None:
            raise RegistryError(
                f"{alias} of {name} never named another version: there is nothing to roll back to; "
                "`rivermill models pin VERSION REASON` serves any version of `rivermill models list`",
                _NOT_FOUND,
            )
        return await client.set_alias(name, alias, SetAlias(last.previous, live=False, reason=reason))

    return _told(_ask(target.deployment(pipeline, None, data_dir), ask))


@command.command
def release(
    reason: Reason,
    /,
    pipeline: target.Pipeline = None,
    *,
    alias: AliasName = CHAMPION,
    data_dir: target.DataDir = Settings.data_dir,
) -> int:
    """End a pin or a rollback: the alias follows its candidate's newest state again.

    Try `rivermill models release "the audit is over"`.
    """

    async def ask(client: RegistryClient, name: str) -> Alias:
        now = (await client.aliases(name)).get(alias)
        if now is None:
            raise RegistryError(f"{name} has no alias {alias}: see `rivermill models list`", _NOT_FOUND)
        return await client.set_alias(name, alias, SetAlias(now.version, live=True, reason=reason))

    return _told(_ask(target.deployment(pipeline, None, data_dir), ask))


def _set(pipeline: target.Pipeline, data_dir: target.DataDir, alias: str, wanted: SetAlias) -> int:
    deployment = target.deployment(pipeline, None, data_dir)
    return _told(_ask(deployment, lambda client, name: client.set_alias(name, alias, wanted)))


def _told(alias: Alias) -> int:
    console().print(f"[bold]{alias.alias}[/]: {_served(alias)}")
    return 0


def _served(alias: Alias | AliasRecord) -> str:
    how = "and what its candidate learns from there on" if alias.live else "exactly (pinned)"
    why = f": {alias.reason}" if alias.reason else ""
    return escape(f"version {alias.version} of {alias.candidate} {how}, by {alias.actor}{why}")


def _metrics(metrics: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if value is not None)


def _ask(deployment: Deployment, question: Callable[[RegistryClient, str], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with connected(deployment.settings, _actor()) as client:
            return await question(client, deployment.name)

    return asyncio.run(run())


def _actor() -> str:
    """The user's name, as far as it can stand in the registry's header; a container's user may have none."""
    try:
        name = getpass.getuser()
    except (OSError, LookupError, ImportError):
        return "unknown"
    return re.sub(r"[^A-Za-z0-9._@+:/ -]", "_", name)[:64].strip() or "unknown"
