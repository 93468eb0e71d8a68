"""Which pipeline, broker and registry a command is about: as told, or else what runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from services.cli import broker_background, running
from services.runtime.launch import Deployment, load
from services.runtime.settings import ADDRESS, Settings, SettingsError, from_environment, is_address

DEMO_DIR = "demo"
"""The demo's data directory, within the default one."""

Pipeline = Annotated[
    Path | None, Parameter(help="The pipeline file. Default: that of the `up` or `demo` running here.")
]


def _address(_: object, broker: str | None) -> None:
    """Cyclopts's validator of a Kafka's address."""
    if broker and not is_address(broker):
        raise ValueError(f"Expected {ADDRESS}.")


IsAddress = Parameter(validator=_address)
BrokerOption = Annotated[
    str | None,
    IsAddress,
    Parameter(help="Kafka, host:port. Default: RIVERMILL_BROKER, or that of the `up` or `demo` running here."),
]
DataDir = Annotated[
    Path, Parameter(env_var="RIVERMILL_DATA_DIR", help="The data directory that `rivermill up` was given.")
]


def _writable(_: object, path: Path | None) -> None:
    """Cyclopts's validator of a file that is written at the end: what is in the way is told before the work begins."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise ValueError(f"There is no directory {path.parent}.")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError("It cannot be written.")


WriteTo = Parameter(validator=_writable)
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON, for programs.")]


def default_data_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The data directory of a command that is given none."""
    return Path(env.get("RIVERMILL_DATA_DIR") or Settings.data_dir)


def running_here(data_dir: Path) -> running.Running | None:
    """The ``up`` or ``demo`` that runs on this data directory."""
    return running.find(data_dir) or running.find(data_dir / DEMO_DIR)


def settings(broker: str | None, data_dir: Path, env: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a command: told ones, then the environment's, then those of what runs here."""
    found = running_here(data_dir)
    wanted = dict(env) | {"RIVERMILL_DATA_DIR": str(data_dir)}
    background = broker_background.address(data_dir / "broker")
    address = broker or env.get("RIVERMILL_BROKER") or (found and found.broker) or background
    if address:
        wanted["RIVERMILL_BROKER"] = address
    if found is not None and not env.get("RIVERMILL_REGISTRY_URL"):
        wanted["RIVERMILL_REGISTRY_URL"] = found.registry
    return from_environment(wanted)


def deployment(
    pipeline: Path | None, broker: str | None, data_dir: Path, env: Mapping[str, str] = os.environ
) -> Deployment:
    """The pipeline and the settings that a command is about; SpecError or SettingsError when they cannot be had."""
    if pipeline is None:
        found = running_here(data_dir)
        if found is None:
            raise SettingsError(
                f"which pipeline? Nothing runs on the data directory {data_dir}: name a pipeline file, such as "
                "examples/flights/pipeline.toml, or the --data-dir of a running `rivermill up`"
            )
        pipeline = Path(found.pipeline)
    return Deployment(load(pipeline), settings(broker, data_dir, env))
