"""Processes that a benchmark starts: they end with it, whatever happens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.cli.watchdog import Watchdog

ROOT = Path(__file__).parents[1]
_STOP_S = 5.0


class Processes:
    """Start with :meth:`start`; :meth:`close` in every case."""

    def __init__(self) -> None:
        self._watchdog = Watchdog()
        self._running: list[asyncio.subprocess.Process] = []

    async def start(
        self, command: Sequence[str], env: Mapping[str, str], log: Path, output: int | None = None
    ) -> asyncio.subprocess.Process:
        """Start a process in the project's folder; what it says goes to ``log``, or where ``output`` says."""
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env={**os.environ, **env}, stdin=asyncio.subprocess.DEVNULL,
                stdout=output or file, stderr=file, process_group=self._watchdog.group,
            )  # fmt: skip
        self._running.append(process)
        return process

    async def stop(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM, and SIGKILL for what does not end by it."""
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._running.remove(process)

    async def close(self) -> None:
        """Stop everything that was started."""
        for process in list(self._running):
            await self.stop(process)
        self._watchdog.dismiss()


def last_words(log: Path) -> str:
    """The last line that a process wrote."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
