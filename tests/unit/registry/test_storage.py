"""Database and blobs: migrations, settings, and what was altered behind the registry's back."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import obstore
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from obstore.store import ObjectStore
from sqlalchemy import text

from services.registry import outbox, reading
from services.registry.blobs import Blobs
from services.registry.database import Database, DatabaseAwayError, open_database
from services.registry.publishing import publish
from services.registry.refusals import Damaged
from services.registry.settings import registry_settings
from services.registry.tables import Base
from services.runtime.ending import exit_code
from services.runtime.errors import OperatorError
from services.runtime.settings import SettingsError
from tests.unit.registry.serving import database_url, manifest, paths

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_migrations_make_the_tables_as_declared(database: Database) -> None:
    """The migrations lead from an empty database to exactly the tables that the code works with."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_starting_twice_at_once_migrates_once(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """Of several that start at the same time on an empty database one migrates, and all find the same registry."""
    url = database_url(tmp_path, registry_env)
    with ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: open_database(url), range(4)))
    assert len({outbox.identity(database) for database in databases}) == 1
    for database in databases:
        database.close()


def test_a_start_waits_for_who_makes_the_database(tmp_path: Path) -> None:
    """SQLite refuses to change the journal's mode beside a writer at once, whatever its time-out: we ask again."""
    path = tmp_path / "registry.sqlite"
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, maker.execute, ["COMMIT"])
    done.start()
    open_database(f"sqlite:///{path}").close()
    done.join()
    maker.close()


@pytest.mark.parametrize("damage", [b"", b"snapshoT", None])
def test_altered_blob_is_never_returned(
    database: Database, blobs: Blobs, store: ObjectStore, damage: bytes | None
) -> None:
    """A blob that was cut, changed or removed in the store is an error that says so, never an answer."""
    publish(database, blobs, "flights", manifest(b"snapshot"), b"snapshot", actor="learner", now=AT)
    (path,) = paths(store)
    if damage is None:
        obstore.delete(store, path)
    else:
        obstore.put(store, path, damage)
    with pytest.raises(Damaged, match="missing from the blob store or was altered"):
        reading.snapshot(database, blobs, "flights", 1)


@pytest.mark.parametrize(
    ("url", "word"),
    [("nonsense", "expected sqlite"), ("mysql://x/y", "not supported"), ("sqlite://", "must name a file"),
     ("sqlite:////proc/nothing/x.sqlite", "folder"), ("sqlite:////proc/version", "cannot be used")],
)  # fmt: skip
def test_wrong_database_is_one_clear_message(url: str, word: str) -> None:
    """A database that cannot be used is a SettingsError that says what was expected."""
    with pytest.raises(SettingsError, match=word):
        open_database(url)


def test_password_of_the_database_is_not_shown() -> None:
    """Neither the error about a database nor the settings' repr tells its password."""
    url = "postgresql://ann:hunter2@127.0.0.1:1/registry"
    with pytest.raises(DatabaseAwayError) as refused:
        open_database(url)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(registry_settings({"RIVERMILL_REGISTRY_DATABASE": url}))


@contextmanager
def refusing(words: str) -> Iterator[str]:
    """The address of a PostgreSQL that takes no connection, and why."""
    told = b"SFATAL\0VFATAL\0M" + words.encode() + b"\0\0"

    def refuse() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(b"E" + (len(told) + 4).to_bytes(4, "big") + told)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            yield f"postgresql://ann@127.0.0.1:{server.getsockname()[1]}/registry?sslmode=disable"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(("words", "kind"), [
    ("the database system is starting up", DatabaseAwayError),
    ("sorry, too many clients already", DatabaseAwayError),
    ('password authentication failed for user "ann"', SettingsError),
    ('database "registry" does not exist', SettingsError),
])  # fmt: skip
def test_a_server_that_takes_no_connection_now_is_no_wrong_setting(words: str, kind: type[OperatorError]) -> None:
    """What passes by itself ends a start with exit code 1, and it is tried again; what only the user can mend with 2."""
    with refusing(words) as url, pytest.raises(OperatorError, match=words) as told:
        open_database(url)
    assert type(told.value) is kind
    assert exit_code(told.value) == (1 if kind is DatabaseAwayError else 2)


@pytest.mark.server
def test_who_is_gone_holds_nothing_up_for_long_on_postgresql(postgresql: str) -> None:
    """PostgreSQL ends a transaction in which nothing happens, and libpq a connection at whose end nobody is; a time
    that the address names is kept.
    """
    database = open_database(f"{postgresql}&tcp_user_timeout=9000")
    for _ in range(2):
        with database.reading() as session:
            assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"
            used: Any = session.connection().connection.dbapi_connection
            given = used.info.get_parameters()
            assert {"tcp_user_timeout": "9000", "keepalives_idle": "10"}.items() <= given.items()
    database.close()


def test_the_databases_address_may_be_in_a_file(tmp_path: Path) -> None:
    """An address with a password in it need not be in the environment, where others may read it."""
    (tmp_path / "database").write_text("postgresql://ann:hunter2@db/registry\n")
    settings = registry_settings({"RIVERMILL_REGISTRY_DATABASE_FILE": str(tmp_path / "database")})
    assert settings.database == "postgresql://ann:hunter2@db/registry"


def test_listening_for_others_needs_a_token() -> None:
    """A registry that others can reach refuses to start without a token."""
    with pytest.raises(SettingsError, match="RIVERMILL_REGISTRY_TOKEN"):
        registry_settings({}, host="0.0.0.0")  # noqa: S104 - refused is what it shall be
    assert registry_settings({"RIVERMILL_REGISTRY_TOKEN": "secret"}, host="0.0.0.0").token == "secret"  # noqa: S104 - as above


def test_a_start_on_a_full_disk_may_be_tried_again(tmp_path: Path) -> None:
    """Exit code 1 with one line: whoever supervises it starts it again. 2 would mean that only a person can mend it."""
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    began = "sys.argv = ['registry', '--port', '0']; import runpy; runpy.run_module('services.registry', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", limited + began],
        env={**os.environ, "RIVERMILL_DATA_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (1, "")
    assert "the registry's database" in done.stderr
    assert "Traceback" not in done.stderr
