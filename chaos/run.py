"""One run: everything started, the script fed, the plan carried out, all drained, and the verdict drawn."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from chaos import clock, judge, recovery, script
from chaos.adversary import KILLS, Act
from chaos.facts import Facts
from chaos.faults import Faults
from chaos.feeder import Feeder
from chaos.owners import Owners
from chaos.recovery import Distribution
from chaos.strikes import STRIKES
from services.cli.account import stage_totals
from services.cli.positions import Checkpoints
from services.cli.settle import wait_settled
from services.cli.supervise import Supervisor

PROCESSES = 2
_BACK, _WORKED_OFF = "every process comes back", "everything is worked off"
_DECIDED = "the registry takes every decision while nothing strikes it"
_START_S, _SETTLE_S, _EXPIRE_S, _LOOK_S = 240.0, 240.0, 120.0, 0.1


class Result(msgspec.Struct, frozen=True):
    """What a run found. ``violations`` by check: an empty list where it holds; ``unmeasured``: left out of ``recovery_ms``.

    ``acts`` are those that were done, ``left_out`` the others by fault and reason.
    """

    seed: int
    seconds: float
    acts: dict[str, int]
    left_out: dict[str, int]
    kills: int
    restarts: dict[str, int]
    counts: dict[str, int]
    recovery_ms: dict[str, Distribution]
    unmeasured: dict[str, int]
    violations: dict[str, list[str]]

    @property
    def holds(self) -> bool:
        """Whether nothing was violated."""
        return not any(self.violations.values())


class Chaos:
    """One run in ``folder``, with its own broker; :meth:`stop` ends whatever runs."""

    def __init__(self, folder: Path, seed: int, acts: Sequence[Act], rate: float, say: Callable[[str], None]) -> None:
        self._seed, self._acts, self._rate, self._say = seed, acts, rate, say
        self._broken: dict[str, list[str]] = {what: [] for what in (_BACK, _DECIDED, _WORKED_OFF)}
        self._supervisor = supervisor(folder, clocks=any(act.fault == "clock" for act in acts))
        self._owners = Owners(lambda: {k: v for k, v in self._supervisor.endpoints.items() if k != "registry"})

    async def run(self) -> Result:
        """All of it."""
        began = time.monotonic()
        await self._supervisor.start(_START_S)
        self._say("everything runs; the script begins")
        deployment, seen = self._supervisor.deployment, recovery.Checkpoints()
        feeder = Feeder(deployment, script.Script(self._seed), self._rate)
        faults = Faults(self._supervisor, self._owners, feeder, STRIKES, self._say)
        followed = seen.run(deployment.settings.broker, deployment.name, script.PARTITIONS)
        try:
            async with _beside(self._owners.run(), followed):
                await self._strike(feeder, faults)
                await self._drain(feeder)
        finally:
            await feeder.close()
        self._say("worked off; reading every topic")
        found, violations = await judge.judge(deployment, self._supervisor.data_dir / "registry" / "blobs")
        self._broken[_BACK] += faults.unready
        self._broken[_DECIDED] += faults.refused
        acts = Counter(it.act.fault for it in faults.done if not it.left_out)
        left_out = Counter(f"{it.act.fault}: {it.left_out}" for it in faults.done if it.left_out)
        return Result(
            seed=self._seed,
            seconds=round(time.monotonic() - began, 1),
            acts=dict(acts.most_common()),
            left_out=dict(left_out),
            kills=sum(acts[fault] for fault in KILLS),
            restarts=self._supervisor.restarts,
            counts=_counts(found),
            recovery_ms=recovery.distributions(faults.kills(), seen.by_lane),
            unmeasured=recovery.unmeasured(faults.kills(), seen.by_lane),
            violations=self._broken | violations,
        )

    async def stop(self) -> None:
        """End everything that was started."""
        await self._supervisor.stop()

    async def _strike(self, feeder: Feeder, faults: Faults) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(feeder.run(), name="feeder")
            await faults.carry_out(self._acts)
            await asyncio.sleep(faults.watching_s())
            feeder.stop()
        await faults.all_back()

    async def _drain(self, feeder: Feeder) -> None:
        """Let everything be worked off, then let the closing events expire what has no label."""
        await self._settled("the stream")
        await feeder.send(feeder.script.closing())
        await self._settled("the closing events")
        async with Checkpoints(self._supervisor.deployment) as checkpoints:
            deadline = time.monotonic() + _EXPIRE_S
            while time.monotonic() < deadline:
                join = stage_totals(await checkpoints.refresh())["join"]
                if join.get("pending") == script.CLOSINGS and not join.get("waiting"):
                    return
                await asyncio.sleep(_LOOK_S)
        self._broken[_WORKED_OFF].append(f"after {_EXPIRE_S:.0f} s the join still holds {join}")

    async def _settled(self, what: str) -> None:
        lacking: dict[str, int] = {}

        def note(behind: Mapping[str, int]) -> None:
            lacking.clear()
            lacking.update(behind)

        if not await wait_settled(self._supervisor.deployment, _SETTLE_S, note):
            self._broken[_WORKED_OFF].append(f"{what}: after {_SETTLE_S:.0f} s still {lacking}")


_KEPT = ("RIVERMILL_CACHE_DIR", "RIVERMILL_MAVEN_URL", "RIVERMILL_LOG_LEVEL")


@asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do these for as long as the block lasts; what ends one of them ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()


def supervisor(folder: Path, *, clocks: bool, processes: int = PROCESSES) -> Supervisor:
    """What starts the script's pipeline in ``folder``, so many processes of each service; ``clocks``: theirs can be put wrong."""
    path = folder / "pipeline.toml"
    path.write_text(script.FILE, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIVERMILL_") or name in _KEPT}
    service_env = clock.environment(folder / "data") if clocks else {}
    return Supervisor(path, folder / "data", processes=processes, env=env, service_env=service_env, steady_s=0.0)


def _counts(found: Facts) -> dict[str, int]:
    """How much was read, and of what kinds."""
    duplicates = sum(it.totals.get("duplicates", 0) for (stage, _), it in found.checkpoints.items() if stage == "clean")
    states = Counter(it.outcome.state for it in found.outcomes)
    return {
        "raw events": len(found.raw_events), "raw labels": len(found.raw_labels), "clean events": len(found.events),
        "duplicates": duplicates, "dead letters": len(found.dead), "clean labels": len(found.labels),
        "predictions": len(found.predictions), **{f"outcomes {state}": states[state] for state in sorted(states)},
        "examples": len(found.examples), "alerts": len(found.alerts),
    }  # fmt: skip
