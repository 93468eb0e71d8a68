"""Whose turn it is to publish: of all registries on one database, the one that holds its lock.

The lock ends with its holder, however that ends: PostgreSQL's with the connection, SQLite's with the open file.
"""

from __future__ import annotations

import fcntl
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

_LOCK = 7_246_152_020
_SILENT_SECONDS = 6
"""How long the server waits for a word of the holder. One that is stopped, hangs, or has lost its machine or network
ends no connection: the server would keep the lock for it, for hours or for ever.
"""


class Turn:
    """The lock of one database, as one registry tries to hold it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._busy = threading.Lock()
        self._held: Connection | IO[str] | None = None
        self._over = False

    def take(self) -> bool:
        """Whether this registry holds the lock, now that it has tried; SQLAlchemyError or OSError when nobody can say."""
        with self._busy:
            if self._over:
                return False
            if isinstance(self._held, Connection):
                self._still_there(self._held)
            elif self._held is None:
                self._held = self._of_a_server() if self._engine.dialect.name == "postgresql" else self._of_a_file()
            return self._held is not None

    def hold(self) -> None:
        """Let the server hear of this registry, if it holds the lock; SQLAlchemyError when it does so no more."""
        with self._busy:
            if isinstance(self._held, Connection):
                self._still_there(self._held)

    def give_up(self) -> None:
        """Let another one publish, for good."""
        with self._busy:
            self._over = True
            self._drop()

    def _still_there(self, connection: Connection) -> None:
        try:
            connection.execute(text("SELECT 1"))
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _of_a_server(self) -> Connection | None:
        with ExitStack() as opened:
            connection = opened.enter_context(self._engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # back in the pool it would hold the lock without anybody knowing
            connection.execute(text(f"SET idle_session_timeout = '{_SILENT_SECONDS}s'"))
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
                return None
            opened.pop_all()
            return connection

    def _of_a_file(self) -> IO[str] | None:
        with ExitStack() as opened:
            file = opened.enter_context(Path(f"{self._engine.url.database}.publisher").open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            opened.pop_all()
            return file
