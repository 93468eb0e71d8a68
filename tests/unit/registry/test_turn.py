"""Whose turn it is to publish."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import stamina
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from services.registry.database import Database, open_database
from services.registry.turn import Turn
from tests.databases import POSTGRESQL
from tests.unit.registry.serving import serving


def take_soon(turn: Turn) -> None:
    """Take it once its holder's connection has ended: the server takes its time for that."""
    for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=60, wait_max=0.1):
        with attempt:
            assert turn.take()


def test_one_at_a_time(database: Database) -> None:
    """Who has it keeps it until it gives it up, and then never has it again."""
    other = open_database(database.engine.url.render_as_string(hide_password=False))
    first, second = Turn(database.engine), Turn(other.engine)
    assert [first.take(), second.take(), first.take(), second.take()] == [True, False, True, False]
    first.give_up()
    take_soon(second)
    assert not first.take()
    second.give_up()
    other.close()


@pytest.mark.parametrize("registry_env", [POSTGRESQL], indirect=True)
def test_who_has_lost_it_on_postgresql_is_told(database: Database) -> None:
    """A connection that has ended took the lock along: that is an error once, and then another attempt."""
    turn, other = Turn(database.engine), Turn(database.engine)
    assert turn.take()
    with database.engine.begin() as connection:
        holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        assert (True,) in connection.execute(text(holders)).all()
    take_soon(other)
    with pytest.raises(SQLAlchemyError):
        turn.take()
    assert not turn.take()
    other.give_up()
    take_soon(turn)
    turn.give_up()


@pytest.mark.parametrize("registry_env", [POSTGRESQL], indirect=True)
def test_a_round_that_takes_long_does_not_lose_it_on_postgresql(
    tmp_path: Path, registry_env: dict[str, str], database: Database
) -> None:
    """PostgreSQL hears of the holder even while its round waits, here for a table that somebody else has locked."""
    other = Turn(database.engine)
    with serving(tmp_path, registry_env | {"RIVERMILL_BROKER": "127.0.0.1:1"}):
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        with database.engine.connect() as connection:
            for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=20, wait_max=0.1):
                with attempt:
                    assert connection.scalar(held) == 1
        with database.engine.begin() as connection:
            connection.execute(text("LOCK TABLE outbox"))
            until = time.monotonic() + 8
            while time.monotonic() < until:
                assert not other.take()
                time.sleep(0.2)
