"""docker-compose.yml without a container engine: its services run with exactly what it says, and the account balances."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from schemas.topics import SERVICES
from services.cli.settle import wait_settled
from services.cli.status import Status
from services.runtime.launch import Deployment, load
from services.runtime.settings import Settings
from tests.composed import ROOT, compose, ours
from tests.integration.containers import Container
from tests.integration.official_kafka import official_kafka
from tests.integration.pipelines import ANSWER_S


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, Any]:
    """The file as it is, with secrets of the test's own, made by the script that makes a user's."""
    folder = tmp_path / "secrets"
    subprocess.run(["sh", ROOT / "deploy/compose/secrets.sh", folder], check=True)
    return compose({"RIVERMILL_SECRETS": str(folder)})


@pytest.fixture
def network() -> str:
    """The beginning of loopback addresses that no one else uses: every container may have all of its ports."""
    return f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"


@pytest.fixture
def kafka(whole: dict[str, Any], network: str, tmp_path: Path) -> Iterator[str]:
    """The file's Kafka."""
    with official_kafka(whole, tmp_path / "kafka", f"{network}.9") as address:
        yield address


@pytest.fixture
def database(whole: dict[str, Any], postgresql: str) -> Iterator[tuple[str, str]]:
    """What the database's address is here: a user and a database made as the official image makes them."""
    given = whole["services"]["postgres"]["environment"]
    password = Path(whole["secrets"]["postgres_password"]["file"]).read_text().strip()
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE USER {given['POSTGRES_USER']} PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {given['POSTGRES_DB']} OWNER {given['POSTGRES_USER']}")
        yield "@postgres:5432/rivermill", f"@/rivermill?{postgresql.partition('?')[2]}"
        connection.execute(f"DROP DATABASE {given['POSTGRES_DB']} WITH (FORCE)")
        connection.execute(f"DROP USER {given['POSTGRES_USER']}")


@pytest.fixture
def containers(
    whole: dict[str, Any], network: str, kafka: str, database: tuple[str, str], tmp_path: Path
) -> Iterator[dict[str, Container]]:
    """The services of ours, not started, each with a loopback address of its own."""
    url = Path(whole["secrets"]["registry_database"]["file"])
    assert database[0] in url.read_text()
    url.write_text(url.read_text().replace(*database))
    own = {name: f"{network}.{number}" for number, name in enumerate(ours(whole), start=10)}
    hosts = {"kafka:9092": kafka, "registry:8080": f"{own['registry']}:8080"}
    made = {
        name: Container(name, whole, tmp_path, {**hosts, "0.0.0.0": address, "127.0.0.1": address})  # noqa: S104 - replaced
        for name, address in own.items()
    }
    yield made
    for container in made.values():
        container.kill()


def in_order(whole: dict[str, Any], names: set[str]) -> list[str]:
    """Who is waited for before who waits."""
    order: list[str] = []
    while left := names - set(order):
        order += sorted(
            name for name in left if not (whole["services"][name].get("depends_on", {}).keys() & left)
        )  # fmt: skip
    return order


@pytest.mark.timeout(240)
def test_the_services_of_the_file_do_what_the_demo_does(
    whole: dict[str, Any], containers: dict[str, Container], kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each starts once those it waits for are healthy; two days of soiled flights balance; SIGTERM ends all with 0."""
    services = {name: containers[name] for name in in_order(whole, {"registry", *SERVICES})}
    for name, container in services.items():
        assert not container.healthy(), f"{name}: something else answers in its place"
        for other in container.service["depends_on"].keys() & services.keys():
            services[other].wait_healthy()
        container.start()
    for container in services.values():
        container.wait_healthy()

    replay = containers["replay"]
    replay.start("--days", "2", "--share", "0.2", "--speed", "max")
    assert replay.wait(within=60) == 0, replay.words()

    pipeline = services["cleaning"].here("/etc/rivermill/pipeline.toml")
    deployment = Deployment(load(Path(pipeline)), Settings(broker=kafka))
    assert asyncio.run(wait_settled(deployment, 60))
    shown = services["cleaning"].run(["rivermill", "status", "/etc/rivermill/pipeline.toml", "--account", "--json"])
    assert shown.returncode == 0, shown.stdout + shown.stderr
    status = msgspec.json.decode(shown.stdout, type=Status)
    with capsys.disabled():
        told = (f"{part:10} {counted}\n" for part, counted in status.account.totals.items())
        sys.stdout.write(f"\n{'':10} balanced: {status.account.balanced}\n" + "".join(told))
    assert status.account.balanced
    assert status.account.totals["join"]["labelled"] > 1000
    assert status.account.totals["clean"]["duplicates"] > 0
    assert status.account.totals["clean"]["rekeyed_events"] > 0
    assert [(alias.alias, alias.live) for alias in status.aliases if alias.alias == "champion"] == [("champion", True)]

    registry = f"http://{services['registry'].here('127.0.0.1')}:8080"
    path = f"/api/v1/models/{deployment.name}/aliases/champion"
    refused = httpx.put(registry + path, json={"version": 1, "reason": "without a token"}, timeout=ANSWER_S)
    assert refused.status_code == 401
    for container in services.values():
        container.wait_healthy()
        url = re.sub("/(healthz|readyz)$", "/metrics", container.here(container.service["healthcheck"]["test"][-1]))
        assert "rivermill_" in httpx.get(url, timeout=ANSWER_S).text

    for container in services.values():
        container.terminate()
    for name, container in services.items():
        grace = float(container.service["stop_grace_period"].removesuffix("s"))
        assert container.wait(within=grace) == 0, f"{name}: {container.words()}"
        assert not container.healthy(), name
    for name, container in containers.items():
        assert list(container.directory.iterdir()) == [], f"{name} writes where its root file system is read-only"
