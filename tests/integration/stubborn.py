"""Cleaning whose Faust never comes back from its stop, as when its consumer's thread has crashed.

``python -m tests.integration.stubborn --pipeline P.toml``; it has two seconds to end instead of ten.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from faust.transport.consumer import Consumer

from services.cleaning.__main__ import main
from services.runtime import worker
from services.runtime.ending import Ending


async def never(_self: Any) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    Consumer.on_stop = never
    worker.Ending = partial(Ending, 2.0)  # type: ignore[misc, assignment] # the constant, for the test's sake
    main()
