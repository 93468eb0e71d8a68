"""The data plane: every stage of a service, as one mode.Service inside the Faust worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog
from mode import Service

from services.runtime import clients
from services.runtime.errors import OperatorError
from services.runtime.membership import Membership
from services.runtime.stage import Stage

_STALL_S = 30.0
_STOP_S = 9.0
_log = structlog.get_logger()


class DataPlane(Service):
    """Runs the stages; any exception of theirs is handed to ``fail``, which ends the process."""

    def __init__(self, stages: Sequence[Stage], fail: Callable[[BaseException], Awaitable[None]]) -> None:
        super().__init__()
        self._fail = fail
        self._memberships = [Membership(stage) for stage in stages]
        self._running: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Begin; mode does not wait for the stages."""
        asyncio.get_running_loop().set_exception_handler(clients.ignore_futures_of_failed_producers)
        self._running = asyncio.create_task(self._run(), name="data plane")

    async def on_stop(self) -> None:
        """Let every batch in flight commit; at most 9 s, so that the process is gone within 10."""
        for membership in self._memberships:
            membership.stop()
        if self._running is not None:
            done, _ = await asyncio.wait([self._running], timeout=_STOP_S)
            if not done:
                _log.error("stages did not stop in time; their open transactions will be aborted", seconds=_STOP_S)
                self._running.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for membership in self._memberships:
                    group.create_task(membership.run(), name=membership.stage.name)
        except BaseExceptionGroup as errors:
            await self._end(errors.exceptions[0])
        except Exception as error:  # noqa: BLE001 - whatever it is ends the process, with one clear line
            await self._end(error)

    async def _end(self, error: BaseException) -> None:
        _log.error("service ends", error=f"{type(error).__name__}: {error}", exc_info=_unexpected(error))
        await self._fail(error)

    def stalled(self) -> list[str]:
        """Lanes with lag that have not moved for 30 s, as ``stage/lane``: the reason /healthz fails."""
        now = time.monotonic()
        return [
            f"{membership.stage.name}/{number}"
            for membership in self._memberships
            for number, lane in membership.lanes.items()
            if lane.ready and now - lane.moved_at > _STALL_S
        ]

    def unready(self) -> list[str]:
        """What keeps the service from working: stages without an assignment, lanes that restore or wait."""
        waiting = [f"{m.stage.name}: no assignment yet" for m in self._memberships if not m.assigned]
        restoring = [
            f"{m.stage.name}/{number}: restoring or waiting for what it needs"
            for m in self._memberships
            for number, lane in m.lanes.items()
            if not lane.ready
        ]
        return waiting + restoring


def _unexpected(error: BaseException) -> BaseException | None:
    """A traceback only for what an operator cannot put right."""
    return None if isinstance(error, OperatorError) else error
