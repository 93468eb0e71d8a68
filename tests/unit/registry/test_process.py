"""The registry as a process: how it starts, stops and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import stamina

from services.cli.loopback import free_port
from services.registry.app import end
from tests.unit.registry.serving import post, serving

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-m", "services.registry"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIVERMILL_")}
    return kept | {"RIVERMILL_DATA_DIR": str(folder)} | more


@contextlib.contextmanager
def running(
    folder: Path, log: int = subprocess.DEVNULL, module: str = "services.registry", **env: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    command = [sys.executable, "-m", module, "--port", str(port)]
    process = subprocess.Popen(command, env=environment(folder, **env), stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for attempt in stamina.retry_context(on=httpx.TransportError, attempts=200, wait_max=0.2, timeout=60):
            with attempt:
                httpx.get(f"{url}/readyz").raise_for_status()
        yield process, url
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_cleanly(tmp_path: Path, registry_env: dict[str, str], stop: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process soon, with exit code 0."""
    with running(tmp_path, **registry_env) as (process, _):
        process.send_signal(stop)
        assert process.wait(10) == 0


def test_a_blob_store_that_is_away_while_it_starts_is_no_wrong_setting(
    tmp_path: Path, registry_env: dict[str, str]
) -> None:
    """Where versions lie already, exit code 1: it is better started again. Where none do, 2: the setting is wrong."""
    blobs = tmp_path / "registry" / "blobs"
    blobs.parent.mkdir()
    env = environment(tmp_path, **registry_env)
    for code in (2, 1):
        blobs.touch()
        ended = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == code
        assert "registry: RIVERMILL_BLOBS is" in ended.stderr
        assert "Traceback" not in ended.stderr
        blobs.unlink()
        with serving(tmp_path, registry_env) as client:
            post(client, "flights", b"snapshot").raise_for_status()
        blobs.rename(tmp_path / f"away-{code}")


def test_a_task_that_never_ends_keeps_no_process(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """Told to end, it is gone in time all the same, and says that it was by force."""
    with (
        (tmp_path / "log").open("wb") as log,
        running(tmp_path, log.fileno(), "tests.unit.registry.stubborn", **registry_env) as (process, _),
    ):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
    assert "ended by force" in (tmp_path / "log").read_text(encoding="utf-8")


def test_nor_does_it_when_another_task_has_failed(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """Nobody sends a signal then: the time begins with the failure."""
    command = [sys.executable, "-m", "tests.unit.registry.stubborn", "--port", "0"]
    env = environment(tmp_path, FOLLOWER_FAILS="1", **registry_env)
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "a task of the registry failed" in ended.stderr
    assert "ended by force" in ended.stderr


def test_a_lost_cancellation_is_repeated() -> None:
    """A task that swallows the first one ends by the second."""

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await end([task])
        assert task.cancelled()

    asyncio.run(scenario())


def test_a_broker_that_stays_away_is_told_once(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """The registry serves without its broker, readiness says what is wrong with it, and attempts leave no more lines."""
    with (
        (tmp_path / "log").open("wb") as log,
        running(tmp_path, log.fileno(), RIVERMILL_BROKER="127.0.0.1:1", **registry_env) as (_, url),
    ):
        for attempt in stamina.retry_context(on=AssertionError, attempts=200, wait_max=0.2, timeout=60):
            with attempt:
                failures = re.search(
                    r"^rivermill_\w*publish_failures_total (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE
                )
                assert failures
                assert float(failures[1]) >= 3
        ready = httpx.get(f"{url}/readyz").json()
    assert (ready["ready"], ready["broker"]) == (True, "away")
    assert "127.0.0.1:1 cannot be used: it refuses connections" in ready["error"]
    told = [line for line in (tmp_path / "log").read_text().splitlines() if "127.0.0.1:1" in line]
    assert len([line for line in told if "refuses" in line or "Unable" in line]) == 1, told


def test_what_was_acknowledged_survives_kill(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """A spec whose PUT was answered is there after kill -9 and a new start."""
    spec, path = b"{}", "/api/v1/specs/44136fa355b3678a"
    with running(tmp_path, **registry_env) as (process, url):
        assert httpx.put(url + path, content=spec).status_code == 201
        process.kill()
        process.wait()
    with running(tmp_path, **registry_env) as (_, url):
        assert httpx.get(url + path).content == spec


def test_help_teaches(tmp_path: Path) -> None:
    """--help names every setting."""
    told = subprocess.run([*COMMAND, "--help"], env=environment(tmp_path), capture_output=True, text=True, check=True)
    for name in ("REGISTRY_DATABASE", "BLOBS", "DATA_DIR", "REGISTRY_TOKEN", "BROKER"):
        assert f"RIVERMILL_{name}" in told.stdout


def test_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """A wrong setting ends the process with one line that says what was expected, and no traceback."""
    refused = subprocess.run(
        COMMAND, env=environment(tmp_path, RIVERMILL_BROKER="nowhere"), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("registry: RIVERMILL_BROKER is 'nowhere'")
    assert refused.stderr.count("\n") == 1


def test_no_port_is_taken_for_another(tmp_path: Path) -> None:
    """A number that is no port is refused: the operating system would cut it, and the registry listen elsewhere."""
    refused = subprocess.run(
        [*COMMAND, "--port", "99999"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert refused.returncode == 2
    assert 'Invalid value "99999" for --port' in refused.stderr


def test_taken_port_is_exit_code_1(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """A port that somebody else has ends the process with exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = subprocess.run(
            [*COMMAND, "--port", port],
            env=environment(tmp_path, **registry_env),
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode == 1
    assert "address already in use" in refused.stderr
    assert "Traceback" not in refused.stderr
