"""What the doctor looks at in the registry: that it answers, the token, its clock, and the champion."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

import httpx

from services.cli.doctor import Finding, Patient, bounded, look, well, wrong
from services.domain import snapshot
from services.domain.registry_api import CHAMPION, Version
from services.domain.signing import SignatureError
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryClient, RegistryError
from services.runtime.settings import Settings

_REGISTRY, _TOKEN, _CLOCK, _CHAMPION = "registry", "token", "registry's clock", "champion"
_ANSWER_S, _AHEAD_S = 5.0, 1.0
_LOOKS, _LOOK_EVERY_S = 3, 0.5
"""How often a clock that seems to be behind is looked at, and how far apart."""
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _BAD_REQUEST = 401, 403, 404, 400
_NOBODYS = "0" * 64
"""Hash of no spec: what is put under it is refused after the token has been looked at."""


async def registry(patient: Patient) -> list[Finding]:
    """Everything of the registry; of one that does not answer nothing else is asked."""
    settings = patient.settings
    found = await bounded(_REGISTRY, _answers(settings))
    if any(finding.state == "wrong" for finding in found):
        return found
    looks = {_TOKEN: _token(settings), _CLOCK: _clock(settings)}
    if patient.deployment is not None:
        looks[_CHAMPION] = _champion(patient.deployment)
    more = await asyncio.gather(*(bounded(what, looking) for what, looking in looks.items()))
    return found + [finding for each in more for finding in each]


def _client(settings: Settings) -> RegistryClient:
    return RegistryClient(settings.registry_url, token=settings.registry_token, attempts=1, timeout=_ANSWER_S)


async def _answers(settings: Settings) -> list[Finding]:
    async with _client(settings) as client:
        try:
            models = await client.models()
        except RegistryError as error:
            if error.status in (_UNAUTHORIZED, _FORBIDDEN):
                return _refused(settings, error.status)
            raise
    return well(_REGISTRY, f"{settings.registry_url} answers, {len(models)} models")


async def _token(settings: Settings) -> list[Finding]:
    """A write that is refused for what it says tells that the token would have let it through."""
    try:
        async with _client(settings) as client:
            await client.put_spec(_NOBODYS, "{}")
    except RegistryError as error:
        if error.status in (_UNAUTHORIZED, _FORBIDDEN):
            return _refused(settings, error.status)
        if not _BAD_REQUEST <= error.status < _BAD_REQUEST + 100:
            raise
    return well(_TOKEN, "accepted" if settings.registry_token else "none is set, and none is asked for")


def _refused(settings: Settings, status: int) -> list[Finding]:
    if settings.registry_token is None:
        told, way_out = "none is set, and the registry asks for one", "set RIVERMILL_REGISTRY_TOKEN (or _FILE)"
    elif status == _FORBIDDEN:
        told, way_out = "it may not write", "only learner and promotion need to: give those a token that may"
        return look(_TOKEN, told, way_out)
    else:
        told, way_out = "refused", "set RIVERMILL_REGISTRY_TOKEN to one that the registry knows"
    return wrong(_TOKEN, told, way_out)


async def _clock(settings: Settings) -> list[Finding]:
    """The Date header has whole seconds, and is as old as a busy server lets it become: what is behind is looked at again."""
    for _ in range(_LOOKS):
        answer, before, after = await _dated(settings)
        try:
            date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            return well(_CLOCK, "not seen: its answers have no date")
        ahead, behind = date - after, before - (date + 1)
        if behind <= _AHEAD_S:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    if max(ahead, behind) > _AHEAD_S:
        told = f"{max(ahead, behind):,.1f} s {'ahead of' if ahead > behind else 'behind'} this machine's"
        return look(_CLOCK, told, "let NTP set both: freshness and the times in the log are off by as much")
    return well(_CLOCK, "within a second of this machine's")


async def _dated(settings: Settings) -> tuple[httpx.Response, float, float]:
    """An answer, and our own clock before and after it."""
    async with httpx.AsyncClient(timeout=_ANSWER_S) as client:
        before = time.time()
        answer = await client.get(f"{settings.registry_url}/healthz")
        return answer, before, time.time()


async def _champion(deployment: Deployment) -> list[Finding]:
    async with _client(deployment.settings) as client:
        try:
            alias = (await client.aliases(deployment.name)).get(CHAMPION)
        except RegistryError as error:
            if error.status != _NOT_FOUND:
                raise
            alias = None
        if alias is None:
            return look(_CHAMPION, "none yet", "the learner publishes the first version at its start: does it run?")
        version = await client.version(deployment.name, alias.version)
        if version.state == "thinned":
            return wrong(_CHAMPION, f"the snapshot of version {alias.version} was removed", "promote another version")
        blob = await client.snapshot(deployment.name, version.version, version.sha256)
    return await asyncio.to_thread(_verified, deployment.settings, version, blob)


def _verified(settings: Settings, version: Version, blob: bytes) -> list[Finding]:
    """Open the snapshot as scoring would: signature first, then its canary events."""
    what = f"version {version.version} of {version.candidate}"
    if settings.signing_key is None:
        return look(_CHAMPION, f"{what} is there, but not verified without a signing key", "set RIVERMILL_SIGNING_KEY")
    try:
        opened = snapshot.read(blob, version.signature, settings.signing_keys)
        opened.part(version.version)
    except SignatureError as error:
        return wrong(_CHAMPION, f"{what}: {error}")
    except (ValueError, KeyError) as error:
        return wrong(_CHAMPION, f"{what} cannot be served from here: {error}")
    made, here = opened.manifest.versions, snapshot.versions()
    other = [f"{name} {number}, here {here.get(name)}" for name, number in made.items() if here.get(name) != number]
    if other:
        told = f"{what} is signed and scores its canary events, but was made with {'; '.join(other)}"
        return look(_CHAMPION, told, "run the same versions everywhere")
    told = ", ".join(f"{name} {number}" for name, number in here.items())
    return well(_CHAMPION, f"{what} is signed with this key, scores its canary events, and was made with {told}")
