"""The database: SQLite in WAL mode by default, PostgreSQL by URL; migrated when the registry starts."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import stamina
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from services.registry.tables import RegistryRow
from services.runtime.errors import OperatorError
from services.runtime.settings import SettingsError

_MIGRATION_LOCK = 7_246_152_019
_BUSY_SECONDS = 30
_GONE = {
    "connect_timeout": 4, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}  # fmt: skip
"""libpq's settings by which a server whose machine or network is gone is known as such, within half a minute."""
_LOCKED_SECONDS = 60
"""How long a transaction may do nothing: of a registry that is gone PostgreSQL would keep the locks for hours."""
_PASSES = (
    "starting up", "shutting down", "not yet accepting connections", "in recovery mode", "too many clients",
    "connection slots",
)  # fmt: skip
"""What PostgreSQL says when it refuses a connection that it would take at another time."""
_EXPECTED = (
    "sqlite:///path/to/registry.sqlite or postgresql://user@host/database (the password may come from PGPASSWORD)"
)


class Database:
    """Sessions of one database. ``reading()`` sees a snapshot; ``writing()`` commits at the end of its block."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reading = sessionmaker(engine, expire_on_commit=False)
        self.writing = sessionmaker(engine.execution_options(writes=True), expire_on_commit=False).begin

    def ready(self) -> None:
        """Raise SQLAlchemyError when the database does not answer."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @property
    def place(self) -> str:
        """Where it is, without its password."""
        return self.engine.url.render_as_string(hide_password=True)


class DatabaseFullError(OperatorError):
    """The disk of a SQLite database takes no more."""


class DatabaseAwayError(OperatorError):
    """A PostgreSQL that cannot be reached, or takes no connection now."""


def _away(error: SQLAlchemyError, location: URL) -> bool:
    """Whether nobody is there, who may come back; a server that refuses what it was given says FATAL."""
    if location.get_backend_name() != "postgresql" or not isinstance(error, OperationalError):
        return False
    told = str(error.orig)
    return "FATAL" not in told or any(words in told for words in _PASSES)


def _full(error: SQLAlchemyError) -> bool:
    name = getattr(error.orig, "sqlite_errorname", "") if isinstance(error, DBAPIError) else ""
    return name.startswith(("SQLITE_FULL", "SQLITE_IOERR"))


def open_database(url: str, *, make: bool = True) -> Database:
    """Connect and migrate to the newest schema; SettingsError says what is wrong with the database.

    Without ``make`` there has to be one of a registry. DatabaseFullError when its disk is full and DatabaseAwayError when
    its server is not there: that may pass by itself.
    """
    location = _location(url)
    if make:
        _make_folder(location)
    elif location.get_backend_name() == "sqlite" and not Path(str(location.database)).exists():
        raise _not_there(location)
    engine = _engine(location)
    try:
        if not make and not inspect(engine).has_table(RegistryRow.__tablename__):
            engine.dispose()
            raise _not_there(location)
        migrate(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        why = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]  # psycopg gives hints, too
        raise _kind(error, location)(
            f"the registry's database {location.render_as_string(hide_password=True)} cannot be used: {why}. "
            "Check RIVERMILL_REGISTRY_DATABASE, that the server runs and that its user may create tables"
        ) from error
    return Database(engine)


def _kind(error: SQLAlchemyError, location: URL) -> type[OperatorError]:
    if _full(error):
        return DatabaseFullError
    return DatabaseAwayError if _away(error, location) else SettingsError


def _not_there(location: URL) -> SettingsError:
    return SettingsError(
        f"no registry has ever run on {location.render_as_string(hide_password=True)}: set RIVERMILL_DATA_DIR or "
        "RIVERMILL_REGISTRY_DATABASE to what the registry has"
    )


def migrate(engine: Engine) -> None:
    """Bring the schema up to date in one transaction that only one process can hold at a time."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _location(url: str) -> URL:
    try:
        location = make_url(url)
    except ArgumentError as error:
        raise SettingsError(f"RIVERMILL_REGISTRY_DATABASE is not a database URL: expected {_EXPECTED}") from error
    backend = location.get_backend_name()
    if backend == "postgresql":
        return location.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise SettingsError(
            f"RIVERMILL_REGISTRY_DATABASE names {backend!r}, which is not supported: expected {_EXPECTED}"
        )
    if not location.database or location.database == ":memory:":
        raise SettingsError(f"RIVERMILL_REGISTRY_DATABASE must name a file: expected {_EXPECTED}")
    return location


def _make_folder(location: URL) -> None:
    if location.get_backend_name() != "sqlite":
        return
    try:
        Path(str(location.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the folder of the database {location.database} cannot be made ({error}): set RIVERMILL_DATA_DIR or "
            "RIVERMILL_REGISTRY_DATABASE to a place that can be written"
        ) from error


def _engine(location: URL) -> Engine:
    if location.get_backend_name() != "sqlite":
        limits = {name: value for name, value in _GONE.items() if name not in location.query}
        engine = create_engine(location, pool_pre_ping=True, connect_args=limits)
        _use_postgresql(engine)
        return engine
    engine = create_engine(location)
    _use_sqlite(engine)
    return engine


def _use_postgresql(engine: Engine) -> None:
    """Let no transaction of somebody who is gone hold up others for long."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_LOCKED_SECONDS}s'")
        connection.commit()


def _busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


@stamina.retry(on=_busy, attempts=None, timeout=_BUSY_SECONDS, wait_initial=0.05, wait_max=0.5)
def _use_wal(connection: sqlite3.Connection) -> None:
    """While somebody else makes the change, SQLite refuses at once, whatever its busy time-out."""
    connection.execute("PRAGMA journal_mode = WAL")


def _use_sqlite(engine: Engine) -> None:
    """Take the write lock when a writing transaction begins: two writers wait for each other, none fails half-way."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout = {_BUSY_SECONDS * 1000}", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
