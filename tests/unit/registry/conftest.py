from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from obstore.store import LocalStore, ObjectStore, from_url

from services.registry.blobs import Blobs, open_blobs
from services.registry.database import Database, open_database
from tests.s3 import S3, s3_server
from tests.unit.registry.serving import emptied, serving


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database: a file of the test's own, or the session's PostgreSQL made empty."""
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path / 'registry.sqlite'}")
    else:
        opened = open_database(emptied(request.getfixturevalue("postgresql")))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The session's S3 server."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_process: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The same, as this process's environment says where it is."""
    for name, value in s3_process.env().items():
        monkeypatch.setenv(name, value)
    return s3_process


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.server)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where blobs lie: a folder of the test's own, or a bucket."""
    if request.param == "folder":
        return str(tmp_path / "blobs")
    server: S3 = request.getfixturevalue("s3")
    return f"s3://{server.bucket(secrets.token_hex(8))}/some/prefix"


@pytest.fixture
def blobs(location: str) -> Blobs:
    return open_blobs(location)


@pytest.fixture
def store(location: str, blobs: Blobs) -> ObjectStore:  # noqa: ARG001 - which makes the folder
    """The place of ``blobs``, as somebody else reaches it."""
    return from_url(location) if "://" in location else LocalStore(location)


@pytest.fixture
def client(tmp_path: Path, database: Database) -> Iterator[httpx.Client]:
    """A client of a registry on ``database``, without token and without broker."""
    location = database.engine.url.render_as_string(hide_password=False)
    with serving(tmp_path, {"RIVERMILL_REGISTRY_DATABASE": location}) as connected:
        yield connected


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of an empty registry that a whole module asks for what must be refused."""
    with serving(tmp_path_factory.mktemp("refusing")) as connected:
        yield connected
        assert connected.get("/api/v1/models").json() == []
