"""Carrying out the plan: each act a task of its own, so that faults overlap; whatever one did is undone at its end."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from chaos import recovery
from chaos.adversary import HARMLESS, KILLS, Act
from chaos.feeder import Feeder
from chaos.owners import Owners
from chaos.recovery import Kill, now_ms
from services.cli.child import Child
from services.cli.supervise import StartError, Supervisor
from services.runtime.ending import USER_ERROR

_READY_S, _AGAIN_S, _LOOK_S = 240.0, 0.25, 0.01


class Done(msgspec.Struct):
    """An act as it was carried out: wall clock, milliseconds. A kill ends when its process is ready again.

    ``left_out`` is why nothing was done.
    """

    act: Act
    began_ms: int
    ended_ms: int = 0
    left_out: str = ""


class GivenUpError(RuntimeError):
    """A process has ended with what only a user can put right: under chaos a fault of ours."""


class NothingToDoError(RuntimeError):
    """An act finds nothing that it could be done to."""


class RefusedError(RuntimeError):
    """The registry has not taken a decision, or has not answered."""


class Faults:
    """Where the plan is carried out: ``strikes`` do each kind of fault (:mod:`chaos.strikes`).

    ``done`` tells what was done, ``unready`` what did not come back, ``refused`` the decisions that the registry did not take
    though nothing struck it. ``turns`` keep acts apart that would undo each other.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        owners: Owners,
        feeder: Feeder,
        strikes: Mapping[str, Strike],
        say: Callable[[str], None],
    ) -> None:
        self.supervisor = supervisor
        self.feeder = feeder
        self.turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.done: list[Done] = []
        self.unready: list[str] = []
        self.refused: list[str] = []
        self._owners = owners
        self._strikes = strikes
        self._say = say
        self._killed: list[tuple[Act, Kill]] = []

    async def carry_out(self, acts: Sequence[Act]) -> None:
        """All acts at their moments; returns when the last is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for act in acts:
                await asyncio.sleep(max(0.0, began + act.at - time.monotonic()))
                lasts = f" for {act.seconds:.0f} s" if act.seconds else ""
                target = "" if act.target in {act.fault, "script", "broker"} else f" {act.target}"
                self._say(f"{act.fault}{target}{lasts}")
                group.create_task(self._act(act), name=f"{act.fault} {act.target}")

    def kills(self) -> list[Kill]:
        """The processes killed, and whether each was alone and its clock right."""
        found = []
        for act, kill in self._killed:
            others = beside(act, kill, self.done)
            alone = all(it.act.fault in HARMLESS for it in others)
            clock_right = all(it.act.fault != "clock" for it in others)
            found.append(msgspec.structs.replace(kill, alone=alone, clock_right=clock_right))
        return found

    def watching_s(self) -> float:
        """For how many seconds from now lanes are watched because of the last kill."""
        last = max((kill.at_ms for _, kill in self._killed), default=0)
        return max(0, last + recovery.WATCHED_MS - now_ms()) / 1000

    def killed(self, act: Act) -> None:
        """Note whose lanes are about to be without an owner; the registry has none."""
        if act.target == "registry":
            return
        owned = self._owners.of(act.target)
        how = KILLS[act.fault]
        kill = Kill(now_ms(), act.target, how, owned.lanes, owned.others, contested=owned.contested, told=owned.told)
        self._killed.append((act, kill))

    async def running(self, name: str) -> asyncio.subprocess.Process:
        """The process to strike; waits while it is just not there. GivenUpError when it will not be there again."""
        while True:
            child = self._kept(name)
            if child is not None and child.process is not None and child.pid is not None:
                return child.process
            await asyncio.sleep(_LOOK_S)

    def _kept(self, name: str) -> Child | None:
        child = self.supervisor.children.get(name)
        if child is not None and child.exit_code == USER_ERROR:
            raise GivenUpError(f"{name} ended and is not started again: {child.last_words()}")
        return child

    async def ready(self, *names: str) -> bool:
        """Wait until processes are ready, or as long as an act may last: others may strike them again and again.

        GivenUpError when one never will be.
        """
        deadline = time.monotonic() + _READY_S
        while True:
            for name in names:
                self._kept(name)
            try:
                await self.supervisor.ready(*names, within=deadline - time.monotonic())
            except (StartError, KeyError) as error:  # it cannot start now, or it is to be away now
                if time.monotonic() >= deadline:
                    self._say(f"not ready after {_READY_S:.0f} s: {error}")
                    return False
                await asyncio.sleep(_AGAIN_S)
            else:
                return True

    async def all_back(self) -> None:
        """Once nothing strikes any more: note the processes that do not come back."""
        names = tuple(self.supervisor.children)
        found = await asyncio.gather(*map(self.ready, names), return_exceptions=True)
        for name, back in zip(names, found, strict=True):
            if back is not True:
                self.unready.append(f"{name} is not ready" if back is False else str(back))

    async def _act(self, act: Act) -> None:
        done = Done(act, now_ms())
        self.done.append(done)
        try:
            await self._strikes[act.fault](self, act)
        except GivenUpError as error:
            self.unready.append(str(error))
        except NothingToDoError as error:
            done.left_out = str(error)
        except RefusedError as error:
            done.left_out = "the registry did not take it"
            if not self._registry_struck(done):
                self.refused.append(f"{act.fault} {act.target}: {error}")
        finally:
            done.ended_ms = now_ms()

    def _registry_struck(self, done: Done) -> bool:
        """Whether something was done to the registry meanwhile: it needs no Kafka for a decision."""
        others = (it for it in self.done if it.act.target == "registry")
        return any(not it.ended_ms or it.ended_ms > done.began_ms for it in others)


Strike = Callable[[Faults, Act], Awaitable[None]]
"""Does one kind of fault, and undoes it."""


def beside(act: Act, kill: Kill, done: Sequence[Done]) -> list[Done]:
    """The other acts that were at work when a process was killed, or began before the calm after it had passed."""
    until = kill.at_ms + recovery.CALM_MS[kill.how]
    return [it for it in done if it.act is not act and it.began_ms < until and it.ended_ms > kill.at_ms]
