"""Why a broker does not let us in: aiokafka's clients log the reason and raise only that they found no broker."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from services.runtime.settings import Settings

_ANSWER_MS = 4_000
_CLOSED = (KafkaConnectionError, ConnectionResetError, BrokenPipeError)
_CLOSINGS = 4
_PAUSE_S = 1.0
"""So often, so far apart, a connection must be closed without an answer to mean us: a broker that shuts down does it."""
_SPOKEN = (
    *_CLOSED, SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError, ssl.SSLError,
)  # fmt: skip
"""Errors by which somebody who is there refuses to speak with us."""


@dataclass(frozen=True)
class Refusal:
    """Why there is no connection, with its subject; ``away`` when nobody is there, who may come back by himself."""

    told: str
    away: bool


async def refusal(settings: Settings, addresses: str | None = None) -> Refusal | None:
    """Connect to the broker's addresses (or to these), and say what is wrong with each; None once one of them answers.

    That takes 4 s where nobody answers. Who has said that he speaks Kafka may be busy, and is no refusal.
    """
    hosts = collect_hosts(addresses or settings.broker, randomize=False)
    reasons = await asyncio.gather(*(_reason(settings, host, port) for host, port, _ in hosts))
    refused = [reason for reason in reasons if reason is not None]
    if len(refused) < len(reasons):
        return None
    away = any(reason.away for reason in refused)
    if len(refused) == 1:
        return Refusal(f"it {refused[0].told}", away)
    told = (f"{host}:{port} {reason.told}" for (host, port, _), reason in zip(hosts, refused, strict=True))
    return Refusal("; ".join(told), away)


async def why(settings: Settings, addresses: str | None = None) -> Refusal:
    """The refusal of a broker that has just failed, which may answer again."""
    return await refusal(settings, addresses) or Refusal("it answers now: try again", away=True)


async def _reason(settings: Settings, host: str, port: int) -> Refusal | None:
    error = await _tried(settings, host, port)
    for _ in range(_CLOSINGS - 1):
        if isinstance(error, _CLOSED):
            await asyncio.sleep(_PAUSE_S)
            error = await _tried(settings, host, port)
    return None if error is None else Refusal(explained(error, settings), not isinstance(error, _SPOKEN))


async def _tried(settings: Settings, host: str, port: int) -> Exception | None:
    """What keeps us from connecting, if anything does."""
    connection = settings.kafka()
    del connection["bootstrap_servers"]
    try:
        async with asyncio.timeout(2 * _ANSWER_MS / 1000):
            opened = await create_conn(host, port, request_timeout_ms=_ANSWER_MS, **connection)
        try:
            with suppress(TimeoutError):  # it has said which versions it speaks: it is merely busy
                await opened.send(MetadataRequest([]))
        finally:
            opened.close()
    except (OSError, KafkaError, TimeoutError) as error:
        return error
    return None


def explained(error: BaseException, settings: Settings) -> str:
    """What an error of connecting means and what to do, without its subject."""
    protocol = settings.security_protocol
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    match cause:
        case SaslAuthenticationFailed():
            told = (
                f"refuses the user {settings.sasl_username!r} ({settings.sasl_mechanism}): check RIVERMILL_SASL_USERNAME "
                "and RIVERMILL_SASL_PASSWORD, and that the user was made for this mechanism"
            )
        case UnsupportedSaslMechanismError():
            told = f"does not offer {settings.sasl_mechanism}: set RIVERMILL_SASL_MECHANISM to one that it does"
        case IllegalSaslStateError():
            told = f"asks nobody for a password: set RIVERMILL_SECURITY_PROTOCOL to {protocol.removeprefix('SASL_')}"
        case ssl.SSLCertVerificationError():
            told = (
                f"shows a certificate that cannot be trusted ({cause.verify_message}): set RIVERMILL_SSL_CAFILE to the "
                "certificate of the authority that signed it, and RIVERMILL_BROKER to a name that it holds for"
            )
        case ssl.SSLError():
            told = (
                f"ended TLS ({cause.reason}): check RIVERMILL_SSL_CERTFILE and RIVERMILL_SSL_KEYFILE, and that it "
                f"speaks {protocol}"
            )
        case ConnectionRefusedError():
            told = "refuses connections: check that it runs and that its address is right (RIVERMILL_BROKER, --broker)"
        case socket.gaierror():
            told = "has a name that is not known here: check its address (RIVERMILL_BROKER, --broker)"
        case TimeoutError():
            told = f"does not answer within {_ANSWER_MS // 1000} s: check its address and the network, and that it speaks {protocol}"
        case KafkaConnectionError() | ConnectionResetError() | BrokenPipeError():
            told = f"closes the connection: it seems not to speak {protocol}, check RIVERMILL_SECURITY_PROTOCOL"
        case _:
            told = f"cannot be used ({type(cause).__name__}: {cause})"
    return told


_levels: list[int] = []


@contextmanager
def untold() -> Iterator[None]:
    """Keep aiokafka from logging what a :func:`refusal` says better; blocks of several tasks may overlap."""
    library = logging.getLogger("aiokafka")
    _levels.append(library.level)
    library.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        level = _levels.pop()
        if not _levels:  # the first one's
            library.setLevel(level)
