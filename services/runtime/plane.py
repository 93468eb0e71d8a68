"""The data plane: every stage of a service, as one mode.Service inside the Faust worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog
from mode import Service

from services.runtime import access, clients
from services.runtime.errors import OperatorError
from services.runtime.membership import Membership
from services.runtime.stage import Stage

_STALL_S = 30.0
_LOOKS = 3
"""How often within the stall limit a stage asks where its inputs end."""
_STOP_S = 9.0
_log = structlog.get_logger()


class DataPlane(Service):
    """Runs the stages; any exception of theirs is handed to ``fail``, which ends the process.

    ``stall_s`` is how long a lane with records ahead may stand still, and Kafka may leave a stage without an answer.
    ``cut_off`` says after a stop that it came before the batches in flight had committed.
    """

    logger = logging.getLogger("mode.plane")  # what mode says of it is no more important than what it says of others

    def __init__(
        self, stages: Sequence[Stage], fail: Callable[[BaseException], Awaitable[None]], stall_s: float = _STALL_S
    ) -> None:
        super().__init__()
        self.cut_off = False
        self._fail = fail
        self._stall_s = stall_s
        self._settings = stages[0].settings
        self._memberships = [Membership(stage, stall_s / _LOOKS) for stage in stages]
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
                self.cut_off = True
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

    async def _end(self, raised: BaseException) -> None:
        error = access.explained(raised, self._settings) or raised
        _log.error("service ends", error=f"{type(error).__name__}: {error}", exc_info=_unexpected(error))
        await self._fail(error)

    def stalled(self) -> list[str]:
        """Lanes that stand still with records ahead that they may read, as ``stage/lane``: the reason /healthz fails.

        What lies ahead is known from the lane's own fetches and from the membership's looks. A broker that is away
        tells nothing new: a lane that was behind is stalled then, one that had read everything is not.
        """
        now = time.monotonic()
        return [
            f"{membership.stage.name}/{number}"
            for membership in self._memberships
            for number, lane in membership.lanes.items()
            if lane.ready and now - lane.moved_at > self._stall_s
        ]

    def unready(self) -> list[str]:
        """What keeps the service from working: no assignment, no answer from Kafka, lanes that restore or wait."""
        now = time.monotonic()
        waiting = [f"{m.stage.name}: no assignment yet" for m in self._memberships if not m.assigned]
        unanswered = [
            f"{m.stage.name}: Kafka has not told for {now - m.answered_at:.0f} s where the inputs end"
            for m in self._memberships
            if m.assigned and now - m.answered_at > self._stall_s
        ]
        restoring = [
            f"{m.stage.name}/{number}: restoring or waiting for what it needs, for {now - lane.moved_at:.0f} s"
            for m in self._memberships
            for number, lane in m.lanes.items()
            if not lane.ready
        ]
        return waiting + unanswered + restoring


def _unexpected(error: BaseException) -> BaseException | None:
    """A traceback only for what an operator cannot put right."""
    return None if isinstance(error, OperatorError) else error
