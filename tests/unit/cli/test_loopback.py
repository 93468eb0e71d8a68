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
    """While what listens there is started again no outgoing connection can take the port."""
    assert {loopback.free_port() for _ in range(50)} <= set(loopback.CHOSEN_FROM)


def test_no_port_is_handed_out_twice() -> None:
    """Two that are asked for, one after the other, are two, though nobody listens on the first yet."""
    ports = [loopback.free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)


def test_any_port_will_do_when_those_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every port of the choice is taken, the system chooses one."""
    with loopback.bound() as only:
        monkeypatch.setattr(loopback, "CHOSEN_FROM", [only.getsockname()[1]])
        assert loopback.free_port() != only.getsockname()[1]
