"""How a process ends: with which exit code, and in time, whatever a library still waits for."""

from __future__ import annotations

import os
import threading
from contextvars import copy_context

import structlog

from services.domain.spec import SpecError
from services.runtime.readback import LogTruncatedError
from services.runtime.settings import SettingsError

USER_ERROR = 2
"""Exit code for what only the user can put right: neither waiting nor starting again mends it."""
WITHIN_S = 9.5
_TELL_S = 0.3
_log = structlog.get_logger()


def exit_code(error: BaseException) -> int:
    """2 for what only the user can put right, 1 for everything else: the process is better started again."""
    return USER_ERROR if isinstance(error, (SettingsError, SpecError, LogTruncatedError)) else 1


class Ending:
    """The end of this process. Set ``code`` as soon as it is known; until then a forced end has exit code 1.

    A library that waits for ever when it is stopped must not keep a process that holds lanes no more, but whose
    supervisor waits for it.
    """

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self.code: int | None = None
        self._within_s = within_s
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """The process has been told to end, and will be gone in time; may be called again, and by a signal handler."""
        if self._timer is None:
            self._timer = threading.Timer(self._within_s, copy_context().run, [self._force])
            self._timer.daemon = True
            self._timer.start()

    def _force(self) -> None:
        code = 1 if self.code is None else self.code
        teller = threading.Thread(target=copy_context().run, args=[self._tell, code], daemon=True)
        teller.start()
        teller.join(_TELL_S)  # what keeps the process may hold the log, too
        os._exit(code)

    def _tell(self, code: int) -> None:
        _log.error("the process did not end by itself and is ended by force", seconds=self._within_s, exit_code=code)
