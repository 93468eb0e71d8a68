from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from obstore.store import LocalStore, ObjectStore, from_url

from services.registry.blobs import Blobs, open_blobs
from services.registry.database import Database, open_database
from tests.databases import DATABASES, empty_database
from tests.s3 import S3, s3_server
from tests.unit.registry.serving import database_url, serving


@pytest.fixture
def database(tmp_path: Path, registry_env: dict[str, str]) -> Iterator[Database]:
    """The migrated database of a registry in ``tmp_path``."""
    opened = open_database(database_url(tmp_path, registry_env))
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
def client(tmp_path: Path, registry_env: dict[str, str]) -> Iterator[httpx.Client]:
    """A client of a registry in ``tmp_path``, without token and without broker."""
    with serving(tmp_path, registry_env) as connected:
        yield connected


@pytest.fixture(scope="module", params=DATABASES)
def refusing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of an empty registry that a whole module asks for what must be refused."""
    with empty_database(request.param, request) as env, serving(tmp_path_factory.mktemp("refusing"), env) as connected:
        yield connected
        assert connected.get("/api/v1/models").json() == []
