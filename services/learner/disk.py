"""Values on the local disk: a cache of what Kafka holds, in a file that nobody else can meet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile

from services.runtime.errors import OperatorError

# Nothing has to outlive the process. For a journal on disk SQLite would need the file's name, and one in memory would hold
# all that was removed since the last commit.
_OPEN = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE kept (place INTEGER PRIMARY KEY, value BLOB NOT NULL);
"""


class DiskError(OperatorError):
    """A local file that cannot be written or read."""


class Disk:
    """The values of one lane (:class:`services.learner.core.values.Store`) in a file of its own in a folder.

    The file has lost its name by the time it is used. So no other process, lane or earlier owner of this lane can meet it,
    and its space is free as soon as it is closed or the process is gone, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            with NamedTemporaryFile(dir=folder, prefix="join-", suffix=".sqlite") as file:
                self._connection = sqlite3.connect(file.name)
                self._connection.executescript(_OPEN)
        except (OSError, sqlite3.OperationalError) as error:
            raise self._told(error) from error

    def update(self, values: Iterable[tuple[int, bytes]], /) -> None:
        """Add values by offset; what was removed since the last time is settled along with it."""
        try:
            self._connection.executemany("INSERT INTO kept VALUES (?, ?)", values)
            self._connection.commit()
        except sqlite3.OperationalError as error:
            raise self._told(error) from error

    def __getitem__(self, offset: int) -> bytes:
        """The value of this offset; KeyError when there is none."""
        try:
            row = self._connection.execute("SELECT value FROM kept WHERE place = ?", (offset,)).fetchone()
        except sqlite3.OperationalError as error:
            raise self._told(error) from error
        if row is None:
            raise KeyError(offset)
        value: bytes = row[0]
        return value

    def __delitem__(self, offset: int) -> None:
        """Remove the value of this offset: its space is used again."""
        try:
            self._connection.execute("DELETE FROM kept WHERE place = ?", (offset,))
        except sqlite3.OperationalError as error:
            raise self._told(error) from error

    def close(self) -> None:
        """Give the space back."""
        self._connection.close()

    def _told(self, error: Exception) -> DiskError:
        return DiskError(
            f"predictions that wait for their labels cannot be kept in {self._folder} ({error}): make room there, or set "
            "RIVERMILL_DATA_DIR to a disk that has it, and start the learner again. Nothing is lost: Kafka holds them"
        )
