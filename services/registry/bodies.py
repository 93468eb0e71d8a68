"""How long a request's body may take: who sends it by and by must not keep others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.registry.refusals import Late


@asynccontextmanager
async def arriving_within(seconds: float) -> AsyncIterator[None]:
    """The body is read in the block; Late when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Late(f"the body did not arrive within {seconds:g} s", "Send it again.") from error
