"""Structured logs: one JSON object a line on standard error (or coloured text), the libraries' logs included."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Literal

import structlog

_NOISY = {
    "aiokafka": logging.ERROR,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiohttp": logging.WARNING,
    "httpx": logging.WARNING,
    "alembic": logging.WARNING,
}
_SELDOM_S = 10.0
_MOST_REMEMBERED = 256


class Seldom(logging.Filter):
    """Lets a library say the same thing every ten seconds, and how often it wanted to: aiokafka says a hundred times a
    second that its broker is away.

    What is the same is told by logger and message without arguments; of more than 256 such, the one heard of first is
    forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be written."""
        if record.name.partition(".")[0] not in _NOISY:
            return True
        what, now = (record.name, str(record.msg)), self._clock()
        at, unsaid = self._said.get(what, (-_SELDOM_S, 0))
        if now - at < _SELDOM_S:
            self._said[what] = at, unsaid + 1
            return False
        if len(self._said) >= _MOST_REMEMBERED and what not in self._said:
            del self._said[next(iter(self._said))]
        self._said[what] = now, 0
        if unsaid:
            record.msg = f"{record.msg} (and {unsaid} times more since it was told last)"
        return True


def configure(service: str, level: str = "info", style: Literal["json", "console"] = "json") -> None:
    """Send structlog's and the standard library's records through one renderer; ``service`` is on every line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(least)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
