"""What is noted of a request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.registry.metrics import REQUESTS
from services.registry.observed import Observed

ENDINGS = {
    "whole": ([(b"all of it", False)], 1),
    "in parts": ([(b"some", True), (b"the rest", False)], 2),
    "broken off": ([(b"some", True)], 2),
}
"""The parts of a body and whether more follow each, and the message by which the request is noted: none if it breaks off."""


@pytest.mark.parametrize("ending", ENDINGS)
def test_who_has_the_whole_answer_finds_it_in_log_and_metrics(ending: str) -> None:
    """Nobody who looks as soon as the answer is there misses a request, and none is noted twice."""
    parts, noted_at = ENDINGS[ending]
    counter = REQUESTS.labels("PUT", "unmatched", "201")
    before = counter._value.get()
    seen: list[tuple[float, int]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        for body, more in parts:
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def received() -> Any:
        raise AssertionError("nothing is asked of the one who asks")

    with capture_logs() as logged:

        async def sent(_message: Any) -> None:
            seen.append((counter._value.get() - before, len(logged)))

        scope: Any = {"type": "http", "method": "PUT", "path": "/x", "client": ("127.0.0.1", 1)}
        asyncio.run(Observed(app)(scope, received, sent))
    assert seen == [(float(at >= noted_at), int(at >= noted_at)) for at in range(len(parts) + 1)]
    assert (counter._value.get() - before, len(logged)) == (1, 1)
