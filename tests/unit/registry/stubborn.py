"""A registry with a task that never ends, as when a library swallows every cancellation; it has one second instead of ten.

With FOLLOWER_FAILS set, another task fails once all runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from functools import partial

from services.registry import process
from services.registry.follower import Follower
from services.registry.publisher import Publisher
from services.runtime.ending import Ending


async def never(_self: Publisher) -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def fail(_self: Follower) -> None:
    raise RuntimeError("the follower failed")


if __name__ == "__main__":
    Publisher.run = never  # type: ignore[method-assign] # the library's part
    if "FOLLOWER_FAILS" in os.environ:
        Follower.run = fail  # type: ignore[method-assign] # as above
    process.Ending = partial(Ending, 1.0)  # type: ignore[misc, assignment] # the constant, for the test's sake
    sys.exit(process.command())
