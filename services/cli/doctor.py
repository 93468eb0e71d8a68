"""What `rivermill doctor` finds: one line a finding, each look bounded in time, none of them a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Literal

import msgspec

from services.runtime.errors import OperatorError
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryError
from services.runtime.settings import Settings

_BOUND_S = 20.0
State = Literal["well", "look", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """``what`` was looked at, how it is, what was seen, and the way out, if there is something to be done."""

    what: str
    state: State
    told: str
    way_out: str = ""


class Patient(msgspec.Struct, frozen=True):
    """What is looked at; no ``deployment`` without a pipeline file, no ``endpoints`` where no service is known."""

    settings: Settings
    deployment: Deployment | None
    endpoints: Mapping[str, str]


def well(what: str, told: str) -> list[Finding]:
    """Nothing to be done."""
    return [Finding(what, "well", told)]


def look(what: str, told: str, way_out: str = "") -> list[Finding]:
    """Something that may be meant so."""
    return [Finding(what, "look", told, way_out)]


def wrong(what: str, told: str, way_out: str = "") -> list[Finding]:
    """Something that does not work."""
    return [Finding(what, "wrong", told, way_out)]


async def bounded(what: str, looking: Awaitable[list[Finding]], seconds: float = _BOUND_S) -> list[Finding]:
    """What a look finds; one that fails, or takes longer, is a finding itself."""
    try:
        async with asyncio.timeout(seconds):
            return await looking
    except TimeoutError:
        return wrong(what, f"no answer within {seconds:g} s", "look at the network, and at the load of the other side")
    except (OperatorError, RegistryError) as error:
        return wrong(what, _one_line(error))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return wrong(what, "could not be looked at (a library's own task was cancelled)")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other looks go on
        return wrong(what, f"could not be looked at ({type(error).__name__}: {_one_line(error)})")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
