"""The command ``rivermill doctor``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from services.cli import doctor_host, running, target
from services.cli.doctor import Finding, Patient, bounded
from services.cli.doctor_kafka import kafka
from services.cli.doctor_registry import registry
from services.cli.terminal import console, print_json
from services.domain.spec import SpecError
from services.runtime.launch import Deployment, load
from services.runtime.settings import Settings, SettingsError, base_url

_MARKS = {"well": "[green]✓[/]", "look": "[yellow]![/]", "wrong": "[red]✗[/]"}
_KEYS = ("RIVERMILL_SIGNING_KEY", "RIVERMILL_SIGNING_KEY_FILE", "RIVERMILL_SIGNING_KEY_PREVIOUS",
         "RIVERMILL_SIGNING_KEY_PREVIOUS_FILE")  # fmt: skip


def doctor(
    pipeline: target.Pipeline = None,
    *,
    url: Annotated[
        list[str] | None, Parameter(help="Base URL of a service to ask; again for more. Default: those running here.")
    ] = None,
    broker: target.BrokerOption = None,
    data_dir: target.DataDir = Settings.data_dir,
    json: target.Json = False,
) -> int:
    """Look at everything that a pipeline needs: broker, topics, groups, access, registry, token, clocks, key, disk.

    Each finding is one line: ✓ well, ! worth a look, ✗ wrong, with its way out. Nothing is changed. The exit code is 1 if
    something is wrong.

    Try `rivermill doctor`, or `rivermill doctor orders.toml --broker kafka-1:9092 --json`.
    """
    found = asyncio.run(examined(pipeline, url or [], broker, data_dir, os.environ))
    if json:
        print_json(found)
    else:
        width = max(len(finding.what) for finding in found)
        for finding in found:
            way_out = f" [dim]→[/] {escape(finding.way_out)}" if finding.way_out else ""
            console().print(f"{_MARKS[finding.state]} {finding.what:<{width}}  {escape(finding.told)}{way_out}")
    return 1 if any(finding.state == "wrong" for finding in found) else 0


async def examined(
    pipeline: Path | None, urls: list[str], broker: str | None, data_dir: Path, env: Mapping[str, str]
) -> list[Finding]:
    """All findings, those of what comes first to be put right first."""
    here = target.running_here(data_dir)
    settings, found = _settings(broker, data_dir, env)
    if settings is None:
        return found
    path = pipeline or (here and Path(here.pipeline))
    deployment = None
    try:
        deployment = Deployment(load(path), settings) if path else None
    except SpecError as error:
        found.append(Finding("pipeline file", "wrong", str(error).splitlines()[0], "`rivermill check` tells all"))
    else:
        name = f"{path}: {deployment.name}, spec {deployment.spec_hash}" if deployment else "none is named"
        way_out = "" if deployment else "name it to have its topics, groups and champion looked at"
        found.append(Finding("pipeline file", "well" if deployment else "look", name, way_out))
    endpoints = {each: each for each in (base_url(it, "--url") for it in urls)} or (here.endpoints if here else {})
    patient = Patient(settings, deployment, endpoints)
    looks = {
        "data directory": doctor_host.data_directory(settings),
        "disk": doctor_host.disk(settings),
        "signing key": doctor_host.signing_key(settings),
        "services": doctor_host.services(patient),
    }
    kept = asyncio.gather(*(bounded(what, looking) for what, looking in looks.items()))
    of_kafka, of_registry, of_host = await asyncio.gather(kafka(patient), registry(patient), kept)
    return [*found, *of_kafka, *of_registry, *(finding for each in of_host for finding in each)]


def _settings(broker: str | None, data_dir: Path, told: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings, with the key that `rivermill up` made if none is set; without keys if these are what is wrong."""
    env = dict(told)
    key = running.key_file(data_dir) or running.key_file(data_dir / target.DEMO_DIR)
    if key is not None and not any(env.get(name) for name in _KEYS[:2]):
        env["RIVERMILL_SIGNING_KEY_FILE"] = str(key)
    try:
        return target.settings(broker, data_dir, env), []
    except SettingsError as error:
        found = [Finding("settings", "wrong", str(error))]
    try:
        return target.settings(broker, data_dir, {name: env[name] for name in env.keys() - set(_KEYS)}), found
    except SettingsError:
        return None, found
