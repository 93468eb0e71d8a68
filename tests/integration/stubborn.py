"""Cleaning whose Faust never comes back from its stop, as when its consumer's thread has crashed.

``python -m tests.integration.stubborn --pipeline P.toml``; once Faust is waited for, the time that it has is nearly over.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.transport.consumer import Consumer

from services.cleaning.__main__ import main
from services.runtime import worker
from services.runtime.ending import Ending

_endings: list[Ending] = []


class _Noted(Ending):
    def __init__(self) -> None:
        super().__init__()
        _endings.append(self)


async def never(_self: Any) -> None:
    """All before it has stopped, however long a busy machine took: what is left of the time would only be waited for."""
    (ending,) = _endings
    assert ending._timer is not None, "the time does not run"
    ending._timer.cancel()
    ending._timer, ending._within_s = None, 0.2
    ending.begin()
    await asyncio.Event().wait()


if __name__ == "__main__":
    Consumer.on_stop = never
    worker.Ending = _Noted  # type: ignore[misc] # to find the worker's
    main()
