"""Ports of the loopback address."""

from __future__ import annotations

import socket

import pytest

from services.cli import loopback


def test_a_taken_port_is_passed_over() -> None:
    """The wanted port is taken if it is free, another one otherwise; one that must be had is an error if it cannot."""
    with socket.create_server((loopback.HOST, 0)) as listener:
        taken = listener.getsockname()[1]
        assert loopback.free_port(taken) != taken
        with pytest.raises(OSError, match="in use"):
            loopback.bound(taken)
    assert loopback.free_port(taken) == taken


def test_a_free_port_is_one_that_no_connection_is_given() -> None:
    """While what listens there is started again no outgoing connection can take the port; none is handed out twice."""
    held = [loopback.bound() for _ in range(50)]
    ports = {listener.getsockname()[1] for listener in held}
    for listener in held:
        listener.close()
    assert len(ports) == len(held)
    assert ports <= set(loopback.CHOSEN_FROM)


def test_any_port_will_do_when_those_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every port of the choice is taken, the system chooses one."""
    with loopback.bound() as only:
        monkeypatch.setattr(loopback, "CHOSEN_FROM", [only.getsockname()[1]])
        assert loopback.free_port() != only.getsockname()[1]
