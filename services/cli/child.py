"""One supervised process: started, its output kept in a bounded log, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from services.runtime.ending import USER_ERROR

STEADY_S = 60.0
_ASK = signal.SIGTERM
_FIRST_DELAY_S, _MAX_DELAY_S = 0.25, 30.0
_LOG_BYTES, _LOGS_KEPT = 10 * 1024 * 1024, 2
_LINE_BYTES = 256 * 1024
_WORDS = 300
_ENDS = "service ends: "
"""So begins the line in which a service says why it ends; what it says after that matters less."""


@dataclass(frozen=True)
class Command:
    """What to run: a name that is stable over restarts, the arguments, the environment, and where it listens."""

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str]
    url: str


class Child:
    """Keeps one process running until :meth:`stop`.

    ``group`` is the process group that the watchdog ends should this process be killed. ``say`` tells a person, in one
    line, that the process died and when it comes back: after 0.25 s at first, twice that each time it dies again
    within ``steady_s``, 30 s at most. One that ends with what only the user can put right is left alone, and
    ``given_up`` is set.
    """

    def __init__(
        self,
        command: Command,
        log: Path,
        group: int,
        say: Callable[[str], None],
        *,
        steady_s: float = STEADY_S,
        given_up: asyncio.Event | None = None,
    ) -> None:
        self.command = command
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self.exit_code: int | None = None
        self._log = log
        self._group = group
        self._say = say
        self._steady_s = steady_s
        self._given_up = given_up or asyncio.Event()
        self._last: deque[str] = deque(maxlen=20)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    def start(self) -> None:
        """Begin to keep it running."""
        self._task = asyncio.create_task(self._run(), name=self.command.name)

    def signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def stop(self, within: float, number: int = _ASK) -> None:
        """SIGTERM or another signal, and SIGKILL after ``within`` seconds."""
        self._stopping.set()
        if self._task is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(number)
        done, _ = await asyncio.wait([self._task], timeout=within)
        if not done:
            self._say(f"{self.command.name} does not stop: killed")
            self.signal(signal.SIGKILL)
        await asyncio.gather(self._task, return_exceptions=True)

    def last_words(self) -> str:
        """What it said last, shortened: an error if there is one; of a JSON log line the event and its error."""
        said = [(grave, words) for grave, words in map(_words, self._last) if words]
        grave = [words for grave, words in said if grave]
        ends = [words for words in grave if words.startswith(_ENDS)]
        last = (ends or grave or [words for _, words in said] or ["it said nothing"])[-1]
        return last[:_WORDS]

    async def _run(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(self._log, maxBytes=_LOG_BYTES, backupCount=_LOGS_KEPT, encoding="utf-8")
        delay = _FIRST_DELAY_S
        try:
            while True:
                began = time.monotonic()
                await self._once(file)
                if self._stopping.is_set():
                    return
                if self.exit_code == USER_ERROR:
                    self._say(f"{self.command.name} ended and is not started again: {self.last_words()}")
                    self._given_up.set()
                    return
                delay = _FIRST_DELAY_S if time.monotonic() - began > self._steady_s else delay
                self._say(f"{self.command.name} ended ({self._how()}): {self.last_words()}; restarts in {delay:g} s")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)
                    return
                delay = min(delay * 2, _MAX_DELAY_S)
                self.restarts += 1
        finally:
            file.close()

    async def _once(self, file: RotatingFileHandler) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.command.arguments,
            env=dict(self.command.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_BYTES,
            process_group=self._group,
        )
        self.process = process
        self._last.clear()
        if self._stopping.is_set():
            process.terminate()
        if process.stdout is not None:
            await self._keep(process.stdout, file)
        self.exit_code = await process.wait()

    async def _keep(self, output: asyncio.StreamReader, file: RotatingFileHandler) -> None:
        while True:
            try:
                line = await output.readline()
            except ValueError:  # a line longer than the limit: what there is of it was thrown away
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            self._last.append(text)
            file.emit(logging.LogRecord(self.command.name, logging.INFO, "", 0, text, None, None))

    def _how(self) -> str:
        code = self.exit_code
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"


def _words(line: str) -> tuple[bool, str]:
    """Whether a line tells of an error, as every line that is no JSON log line may, and its words."""
    try:
        entry = msgspec.json.decode(line.encode(), type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return True, line.strip()
    words = ": ".join(str(entry[key]) for key in ("event", "error") if entry.get(key))
    return entry.get("level") in {"error", "critical"}, words
