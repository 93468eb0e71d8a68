"""The two kinds of database that a registry may have: every test of it runs on both."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import psycopg
import pytest

KINDS = ("sqlite", "postgresql")
POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.server)
DATABASES = ["sqlite", POSTGRESQL]


@contextlib.contextmanager
def empty_database(kind: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A registry's settings for one of this kind: a file in its data folder, where it is without any setting, or a
    database of its own on the session's PostgreSQL.
    """
    if kind == "sqlite":
        yield {}
        return
    server, name = request.getfixturevalue("postgresql"), f"registry_{secrets.token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield {"RIVERMILL_REGISTRY_DATABASE": server.replace("/postgres?", f"/{name}?")}
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
