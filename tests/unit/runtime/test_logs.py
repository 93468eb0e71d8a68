"""What the libraries say again and again, and what they say once."""

from __future__ import annotations

import logging

from services.runtime.logs import Seldom


def record(message: object, *arguments: object, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)


def test_the_same_is_told_every_ten_seconds_with_its_number() -> None:
    """Whatever its arguments, a message passes once, then no sooner than ten seconds later, with what was held back."""
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    passed = []
    for tenth in range(250):
        now[0] = tenth / 10
        one = record("node %s is away, 100%% sure", tenth)
        if seldom.filter(one):
            passed.append((tenth, one.getMessage()))
    assert passed == [
        (0, "node 0 is away, 100% sure"),
        (100, "node 100 is away, 100% sure (and 99 times more since it was told last)"),
        (200, "node 200 is away, 100% sure (and 99 times more since it was told last)"),
    ]


def test_other_messages_and_our_own_pass() -> None:
    """Neither another message, nor another logger's, nor anything that a service says is held back."""
    seldom = Seldom(lambda: 0.0)
    others = [record("one"), record("two"), record("one", name="aiokafka.client"), record("one", name="faust.worker")]
    assert all(map(seldom.filter, others))
    assert all(seldom.filter(record("lane runs", name="services.runtime.lane")) for _ in range(3))
    assert not seldom.filter(record("one"))


def test_it_remembers_a_bounded_number_of_messages() -> None:
    """Messages that are never the same grow nothing without end."""
    seldom = Seldom(lambda: 0.0)
    assert all(seldom.filter(record(f"message {number}")) for number in range(1000))
    assert len(seldom._said) == 256
