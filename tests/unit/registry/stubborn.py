"""A registry with a task that never ends, as when a library swallows every cancellation; it has one second instead of ten."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import services.registry.__main__ as registry
from services.registry.publisher import Publisher
from services.runtime.ending import Ending


async def never(_self: Publisher) -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


if __name__ == "__main__":
    Publisher.run = never  # type: ignore[method-assign] # the library's part
    registry.Ending = partial(Ending, 1.0)  # type: ignore[misc, assignment] # the constant, for the test's sake
    registry.main()
