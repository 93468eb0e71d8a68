"""Whose turn it is to publish."""

from __future__ import annotations

import pytest
import stamina
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from services.registry.database import Database, open_database
from services.registry.turn import Turn


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


@pytest.mark.server
def test_who_has_lost_it_on_postgresql_is_told(postgresql: str) -> None:
    """A connection that has ended took the lock along: that is an error once, and then another attempt."""
    database = open_database(postgresql)
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
    database.close()
