from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.registry.blobs import Blobs, open_blobs
from services.registry.database import Database, open_database
from tests.unit.registry.serving import emptied, serving


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database: a file of the test's own, or the session's PostgreSQL made empty."""
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path / 'registry.sqlite'}")
    else:
        opened = open_database(emptied(request.getfixturevalue("postgresql")))
    yield opened
    opened.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(str(tmp_path / "blobs"))


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
