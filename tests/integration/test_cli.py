"""The command on the real broker: a whole pipeline under its supervisor, killed, looked at, stopped, reset."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from examples.flights.data import flights
from examples.flights.dirt import soil
from examples.flights.replay import Replay
from services.cli import loopback, running
from services.cli.doctor import Finding
from services.cli.doctor_command import examined
from services.cli.settle import take_account, wait_settled
from services.cli.supervise import StartError, Supervisor
from services.runtime.settings import Settings, SettingsError
from tests.unit.cli.watching import watched

FLIGHTS = Path("examples/flights/pipeline.toml")


def pipeline(folder: Path, name: str) -> Path:
    """The flights' pipeline under another name."""
    text = re.sub(r'name = "flights"', f'name = "{name}"', FLIGHTS.read_text(), count=1)
    path = folder / "pipeline.toml"
    path.write_text(text)
    return path


def rivermill(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIVERMILL_")}
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments], capture_output=True, text=True, check=False, timeout=60,
        env=env | {"RIVERMILL_DATA_DIR": str(data_dir)},
    )  # fmt: skip


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.05)


def seen(data_dir: Path) -> dict[str, Any]:
    """What the commands say of a pipeline that runs on this data directory."""
    status = rivermill("status", "--account", "--json", data_dir=data_dir)
    return {
        "status": json.loads(status.stdout),
        "status_code": status.returncode,
        "tail": [
            json.loads(line)
            for line in rivermill(
                "tail", "predictions", "--last", "3", "--limit", "3", data_dir=data_dir
            ).stdout.splitlines()
        ],
        "parameters": rivermill("tail", "parameters", "--from-beginning", "--limit", "1", data_dir=data_dir).stdout,
        "deadletters": json.loads(rivermill("deadletter", "list", "--json", data_dir=data_dir).stdout),
        "models": json.loads(rivermill("models", "list", "--json", data_dir=data_dir).stdout),
        "shown": json.loads(rivermill("models", "show", "1", "--json", data_dir=data_dir).stdout),
        "shown_lines": rivermill("models", "show", "1", data_dir=data_dir).stdout,
        "pinned": rivermill("models", "pin", "1", "a test", data_dir=data_dir).stdout,
        "log": json.loads(rivermill("models", "log", "--json", data_dir=data_dir).stdout),
        "doctor": rivermill("doctor", data_dir=data_dir),
        "reset": rivermill("reset", "--yes", data_dir=data_dir),
        "second": rivermill("up", str(FLIGHTS), data_dir=data_dir),
    }


def changed(path: Path, name: str, pattern: str, by: str) -> Path:
    """The pipeline file with one thing changed, under another name."""
    other = path.with_name(name)
    other.write_text(re.sub(pattern, by, path.read_text(), count=1))
    return other


async def examined_ill(path: Path, data_dir: Path, settings: Settings) -> dict[str, list[Finding]]:
    """What the doctor finds of the same pipeline when one thing at a time is not as it should be."""
    nowhere = f"127.0.0.1:{loopback.free_port()}"
    shaped = changed(path, "shaped.toml", "partitions = 2", "partitions = 3")
    kept = changed(path, "kept.toml", 'horizon = "24h"', 'horizon = "900d"')
    new = changed(path, "new.toml", 'name = "t', 'name = "u')
    file = changed(path, "file", "", "")
    env = {"RIVERMILL_REGISTRY_URL": settings.registry_url}
    looks = {
        "broker away": examined(path, [], nowhere, data_dir, env),
        "partitions": examined(shaped, [], settings.broker, data_dir, env),
        "retention": examined(kept, [], settings.broker, data_dir, env),
        "new pipeline": examined(new, [], settings.broker, data_dir, env),
        "registry away": examined(path, [], None, data_dir, {"RIVERMILL_REGISTRY_URL": f"http://{nowhere}"}),
        "wrong key": examined(path, [], None, data_dir, env | {"RIVERMILL_SIGNING_KEY": "x" * 32}),
        "short key": examined(path, [], None, data_dir, env | {"RIVERMILL_SIGNING_KEY": "short"}),
        "data directory": examined(path, [], settings.broker, file, env),
        "service away": examined(path, [f"http://{nowhere}"], None, data_dir, env),
        "no file": examined(path.with_name("none.toml"), [], None, data_dir, env),
    }
    return {name: await look for name, look in looks.items()}  # all at once they would find a registry that is too busy


ILL = {
    "broker away": ("broker", "refuses connections"),
    "partitions": ("topics", "has 2 partitions, the pipeline file wants 3"),
    "retention": ("topics", "less than the label horizon"),
    "registry away": ("registry", "cannot be reached"),
    "wrong key": ("champion", "not signed with this deployment's key"),
    "short key": ("settings", "too short"),
    "data directory": ("data directory", "cannot be used"),
    "service away": ("service http://127.0.0.1", "does not answer"),
    "no file": ("pipeline file", "cannot be read"),
}
"""What the doctor says is wrong, by what is."""


def assert_examined(found: dict[str, Any]) -> None:
    """All is well with what runs; each thing that is not is named, and nothing else."""
    lines = found["doctor"].stdout.splitlines()
    assert [line[:1] for line in lines] == 14 * ["✓"], found["doctor"].stdout
    assert found["doctor"].returncode == 0
    for name, (what, told) in ILL.items():
        said = [finding for finding in found["ill"][name] if finding.state == "wrong"]
        assert said, name
        assert all(finding.what.startswith(what) for finding in said), (name, said)
        assert told in said[0].told
    new = found["ill"]["new pipeline"]
    assert not [finding for finding in new if finding.state == "wrong"]
    assert any("none of the 17 is there" in finding.told for finding in new)


def top_shown(path: Path, data_dir: Path, endpoints: Iterable[str]) -> tuple[list[str], int, bool]:
    """What `rivermill top` shows of these services and one that is away, once it has read the incidents."""
    nowhere = f"http://127.0.0.1:{loopback.free_port()}"
    urls = [word for url in (*endpoints, nowhere) for word in ("--url", url)]
    return watched([str(path), "--data-dir", str(data_dir), *urls], r"Incidents (none|\d+) open", b"q")


def assert_watched(screen: list[str], code: int, restored: bool) -> None:
    """The screen has all parts, the services with what they use, and the one that is away; it fits."""
    text = "\n".join(screen)
    assert len(screen) <= 24, text
    assert max(map(len, screen)) <= 80, text
    for words in ("Stages", "Labels", "Processes", "Dead letters", "Champion logistic version", "Incidents"):
        assert words in text, text
    assert re.search(r"predicted +[\d,]+ +[1-9][\d,]+ ", text), text
    assert re.search(r"labelled +[1-9][\d,]+", text), text
    assert re.search(r"127\.0\.0\.1:\d+ +\d+ +[1-9]\d* +answers", text), text
    assert re.search(r"127\.0\.0\.1:\d+ +away", text), text
    assert (code, restored) == (0, True)


@pytest.mark.timeout(300)
def test_a_supervised_pipeline_survives_kills_and_its_account_balances(
    broker: str, pipeline_name: str, tmp_path: Path
) -> None:
    """Soiled flights go through all services while each is killed once; everything balances, and all stop within 10 s."""
    path, data_dir = pipeline(tmp_path, pipeline_name), tmp_path / "data"

    async def scenario() -> tuple[dict[str, Any], float, list[int]]:
        supervisor = Supervisor(path, data_dir, broker=broker)
        try:
            await supervisor.start(within=150)
            deployment = supervisor.deployment
            replay = Replay(deployment.settings.kafka(), soil(flights(2), 0.2, 7), deployment.name, 20_000)
            work = asyncio.create_task(replay.run())
            for service in ("cleaning", "scoring", "learner", "drift"):
                await until(lambda: replay.progress.events > 100)
                supervisor.kill(service)
            await work
            assert await wait_settled(deployment, 120)
            account = await take_account(deployment)
            assert account.balanced, account
            assert account.totals["clean"]["duplicates"] > 0
            assert {name for name, count in supervisor.restarts.items() if count} == {
                "cleaning", "scoring", "learner", "drift",
            }  # fmt: skip
            found = await asyncio.to_thread(seen, data_dir)
            found["top"] = await asyncio.to_thread(top_shown, path, data_dir, supervisor.endpoints.values())
            found["ill"] = await examined_ill(path, data_dir, deployment.settings)
            pids = list(supervisor.pids.values())
        finally:
            began = time.monotonic()
            await supervisor.stop()
        return found, time.monotonic() - began, pids

    found, took, pids = asyncio.run(scenario())
    assert took < 10
    assert not [pid for pid in pids if alive(pid)]
    assert found["status_code"] == 0
    assert found["status"]["account"]["balanced"]
    assert {alias["alias"] for alias in found["status"]["aliases"]} >= {"champion"}
    assert len(found["tail"]) == 3
    assert found["tail"][0]["value"]["model"]["name"] == pipeline_name
    assert '"candidates":{"logistic"' in found["parameters"]
    assert {"json_invalid", "time_ahead"} <= {each["rule"] for each in found["deadletters"]["rules"]}
    assert found["models"]["aliases"]["champion"]["candidate"] == "logistic"
    assert found["shown"] == next(each for each in found["models"]["versions"] if each["version"] == 1)
    assert re.search(rf"^sha256 +{found['shown']['sha256']}$", found["shown_lines"], re.MULTILINE)
    assert "version 1 of logistic exactly (pinned)" in found["pinned"]
    assert found["log"][0]["reason"] == "a test"
    assert_examined(found)
    assert_watched(*found["top"])
    assert found["reset"].returncode == 2
    assert "are running" in found["reset"].stderr
    assert found["second"].returncode == 2
    assert "another `rivermill up` runs" in found["second"].stderr
    again = rivermill("reset", str(path), "--yes", "--broker", broker, data_dir=data_dir)
    assert "Deleted 17 topics" in again.stdout, again.stderr
    gone = rivermill("status", str(path), "--broker", broker, data_dir=data_dir)
    assert "there is no topic" in gone.stderr


@pytest.mark.timeout(200)
def test_nothing_outlives_a_killed_up(broker: str, pipeline_name: str, tmp_path: Path) -> None:
    """When `rivermill up` itself is killed with -9, its services end, and the data directory is free again."""
    path, data_dir = pipeline(tmp_path, pipeline_name), tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-m", "services.cli", "up", str(path), "--broker", broker, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as up:  # fmt: skip
        asyncio.run(until(lambda: running.find(data_dir) is not None, 150))
        children = [int(pid) for pid in _children(up.pid)]
        os.kill(up.pid, signal.SIGKILL)
    assert len(children) >= 5
    asyncio.run(until(lambda: not any(map(alive, children)), 15))
    assert running.find(data_dir) is None


def _children(pid: int) -> list[str]:
    return [
        child for tasks in Path(f"/proc/{pid}/task").iterdir() for child in (tasks / "children").read_text().split()
    ]


def test_a_service_that_cannot_start_is_told_with_its_last_words(
    broker: str, pipeline_name: str, tmp_path: Path
) -> None:
    """A signing key that is too short ends the start with the service's own line, and leaves no process behind."""
    path = pipeline(tmp_path, pipeline_name)
    env = {**os.environ, "RIVERMILL_SIGNING_KEY": "short"}

    async def scenario() -> None:
        supervisor = Supervisor(path, tmp_path / "data", broker=broker, env=env)
        try:
            await supervisor.start()
        finally:
            await supervisor.stop()

    with pytest.raises((StartError, SettingsError), match="SIGNING_KEY is too short"):
        asyncio.run(scenario())
