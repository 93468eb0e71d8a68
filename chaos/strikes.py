"""What each fault does. None needs more rights than the services have: all work as root, and in CI without it."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import time
from contextlib import suppress
from http import HTTPStatus

import httpx

from chaos import clock
from chaos.adversary import Act
from chaos.faults import Faults, NothingToDoError, RefusedError, Strike

_POISON = 300
_STOPPED_S, _RUNNING_S = 0.4, 0.1
_NEW_PID_S = 0.05
_ANSWER_S, _VERSION_S, _LOOK_S = 30.0, 90.0, 0.25
"""So long an answer may take where the registry is stopped or every core busy; so long the first versions."""


async def kill(field: Faults, act: Act) -> None:
    """End it as a power cut would; the supervisor starts it again."""
    process = await field.running(act.target)
    field.killed(act)
    _signal(process, signal.SIGKILL)
    await field.ready(act.target)


async def lose(field: Faults, act: Act) -> None:
    """As :func:`kill`, and leave its work to the others for a while."""
    service, number = _place(act.target)
    async with field.turns[service]:
        await field.running(act.target)
        field.killed(act)
        await field.supervisor.remove(act.target, signal.SIGKILL)
        try:
            await asyncio.sleep(act.seconds)
        finally:
            field.supervisor.add(service, number)
        await field.ready(act.target)


async def terminate(field: Faults, act: Act) -> None:
    """Ask it to end; the supervisor starts it again."""
    process = await field.running(act.target)
    _signal(process, signal.SIGTERM)
    await process.wait()
    await field.ready(act.target)


async def stop(field: Faults, act: Act) -> None:
    """Stop it for a while; it does not know of it."""
    process = await field.running(act.target)
    _signal(process, signal.SIGSTOP)
    try:
        await asyncio.sleep(act.seconds)
    finally:
        _signal(process, signal.SIGCONT)
    await field.ready(act.target)


async def slow(field: Faults, act: Act) -> None:
    """Let it run a fifth of the time."""
    process = await field.running(act.target)
    until = time.monotonic() + act.seconds
    try:
        while time.monotonic() < until:
            _signal(process, signal.SIGSTOP)
            await asyncio.sleep(_STOPPED_S)
            _signal(process, signal.SIGCONT)
            await asyncio.sleep(_RUNNING_S)
    finally:
        _signal(process, signal.SIGCONT)


async def scale(field: Faults, act: Act) -> None:
    """One process, three, one, and the two there were."""
    service, supervisor = act.target, field.supervisor
    second, third = f"{service}-2", f"{service}-3"
    async with field.turns[service]:
        await supervisor.remove(second)
        await asyncio.sleep(act.seconds)
        supervisor.add(service, 1)
        supervisor.add(service, 2)
        await field.ready(second, third)
        await asyncio.sleep(act.seconds)
        await asyncio.gather(supervisor.remove(second), supervisor.remove(third))
        await asyncio.sleep(act.seconds)
        supervisor.add(service, 1)
        await field.ready(second)


async def broker(field: Faults, act: Act) -> None:
    """Stop Kafka for a while: connections stay open, nothing answers."""
    async with field.turns["broker"]:
        if (kafka := field.supervisor.broker) is None:
            return
        kafka.pause()
        try:
            await asyncio.sleep(act.seconds)
        finally:
            kafka.resume()


async def reboot(field: Faults, act: Act) -> None:  # noqa: ARG001 - every strike's signature
    """Shut Kafka down; the supervisor starts it again."""
    async with field.turns["broker"]:
        kafka = field.supervisor.broker
        if kafka is None or kafka.process is None:
            return
        before = kafka.process
        before.terminate()
        while kafka.process is before or not kafka.running:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_NEW_PID_S)
    await field.ready(*field.supervisor.children)


async def blobs(field: Faults, act: Act) -> None:
    """Put a file where the registry's folder of blobs is: no mode, which root would ignore, refuses so surely."""
    async with field.turns["blobs"]:
        folder = field.supervisor.data_dir / "registry" / "blobs"
        away = folder.with_name("blobs.away")
        folder.rename(away)
        try:
            folder.touch()
            await asyncio.sleep(act.seconds)
        finally:
            folder.unlink()
            away.rename(folder)
    await field.ready("registry")


async def full(field: Faults, act: Act) -> None:
    """No file of the registry's may grow: what a full disk does, to its blobs and to its database."""
    process = await field.running("registry")
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        await asyncio.sleep(act.seconds)
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    await field.ready("registry")


async def jump(field: Faults, act: Act) -> None:
    """Put the services' wall clock wrong, and right again."""
    async with field.turns["clock"]:
        path = clock.path(field.supervisor.data_dir)
        clock.put(path, random.Random(act.number).uniform(-clock.FARTHEST_S, clock.FARTHEST_S))  # noqa: S311 - as the plan says
        try:
            await asyncio.sleep(act.seconds)
        finally:
            clock.put(path, 0.0)
            await asyncio.sleep(clock.NOTICED_S)


async def poison(field: Faults, act: Act) -> None:
    """Records that cannot be used."""
    field.feeder.add(field.feeder.script.poison(_POISON, act.number))


async def promote(field: Faults, act: Act) -> None:
    """Make a candidate champion."""
    await _decide(field, act.target, live=True)


async def pin(field: Faults, act: Act) -> None:
    """Serve a candidate's newest version, and no later one."""
    await _decide(field, act.target, live=False)


async def _decide(field: Faults, candidate: str, *, live: bool) -> None:
    deployment = field.supervisor.deployment
    url = f"{deployment.settings.registry_url}/api/v1/models/{deployment.name}"
    async with httpx.AsyncClient(timeout=_ANSWER_S, trust_env=False) as client:
        try:
            version = await _newest(client, url, candidate)
            body = {"version": version, "live": live, "reason": "chaos"}
            (await client.put(f"{url}/aliases/champion", json=body)).raise_for_status()
        except httpx.HTTPStatusError as error:
            raise RefusedError(f"{error.response.status_code} {error.response.text}") from error
        except httpx.HTTPError as error:
            raise RefusedError(f"no answer: {error!r}") from error


async def _newest(client: httpx.AsyncClient, url: str, candidate: str) -> int:
    """A candidate's newest version, once it has one: at the start of a run there is nothing to decide."""
    until = time.monotonic() + _VERSION_S
    while time.monotonic() < until:
        page = await client.get(f"{url}/versions", params={"candidate": candidate, "limit": 1})
        if page.status_code != HTTPStatus.NOT_FOUND:  # no candidate of the model has one
            for version in page.raise_for_status().json()["items"]:
                return int(version["version"])
        await asyncio.sleep(_LOOK_S)
    raise NothingToDoError("its candidate has no version")


STRIKES: dict[str, Strike] = {
    "kill": kill, "lose": lose, "terminate": terminate, "stall": stop, "scale": scale, "slow": slow, "broker": broker,
    "outage": broker, "reboot": reboot, "registry": stop, "blobs": blobs, "full": full, "clock": jump,
    "poison": poison, "promote": promote, "pin": pin,
}  # fmt: skip


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _place(name: str) -> tuple[str, int]:
    """Service and number of a process: ``scoring`` is the first, ``scoring-2`` the second."""
    service, _, number = name.partition("-")
    return service, int(number or 1) - 1
