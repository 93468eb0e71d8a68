"""Whether somebody who closes our connections means us, or is about to end."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime import refusal as refusal_module
from services.runtime.refusal import refusal
from services.runtime.settings import Settings


@pytest.mark.parametrize("closings", [1, 3, None])
def test_a_broker_that_shuts_down_is_away_and_not_wrong(monkeypatch: pytest.MonkeyPatch, closings: int | None) -> None:
    """One that closes a connection or three and then is gone will be back; one that goes on closing speaks otherwise."""
    monkeypatch.setattr(refusal_module, "_PAUSE_S", 0.05)

    async def run() -> None:
        closed = 0

        async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal closed
            closed += 1
            if closed == closings:
                server.close()
            writer.close()

        server = await asyncio.start_server(close, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        told = await refusal(Settings(broker=f"127.0.0.1:{port}"))
        server.close()
        assert told is not None
        assert told.away == (closings is not None)
        assert ("refuses connections" if closings else "closes the connection") in told.told

    asyncio.run(run())
