"""Dead letters: the original record, untouched, with headers that say why (names of KIP-1034)."""

from __future__ import annotations

from traceback import format_tb
from typing import NamedTuple

from schemas import deadletter as names
from schemas.topics import MAX_MESSAGE_BYTES
from services.domain.records import Header, Incoming, Out

_MESSAGE_MAX_CHARACTERS = 1000
_ORIGIN_PARTS = 3
_MAX_HEADERS_BYTES = 32 * 1024
_FRAMES = 20


class Origin(NamedTuple):
    """Where a record came in and with which key and headers, whether or not it went through ``rekeyed``."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: list[Header]


def rekeyed_headers(record: Incoming) -> list[Header]:
    """The headers of a re-keyed copy: the record's own, then ours, so that a producer's of the same names are not
    taken for them (:func:`origin` looks at the end).
    """
    headers = [*record.headers, (names.REKEYED_FROM, f"{record.topic}/{record.partition}/{record.offset}".encode())]
    return headers if record.key is None else [*headers, (names.ORIGINAL_KEY, record.key)]


def origin(record: Incoming) -> Origin | None:
    """Where a record of ``rekeyed`` came in; None when it does not carry our headers (nobody else should write there).

    Ask for records of ``rekeyed`` only: anywhere else these headers are a producer's.
    """
    headers = list(record.headers)
    key = headers.pop()[1] if headers and headers[-1][0] == names.ORIGINAL_KEY else None
    if not headers or headers[-1][0] != names.REKEYED_FROM:
        return None
    parts = (headers.pop()[1] or b"").decode("utf-8", "replace").rsplit("/", _ORIGIN_PARTS - 1)
    if len(parts) != _ORIGIN_PARTS or not all(part.isascii() and part.isdecimal() for part in parts[1:]):
        return None
    return Origin(parts[0], int(parts[1][:18]), int(parts[2][:18]), key, headers)


def dead_letter(
    record: Incoming,
    stage: str,
    rule: str,
    message: str,
    exception: BaseException | None = None,
    *,
    came: Origin | None = None,
    timestamp: int | None = None,
    most: int = MAX_MESSAGE_BYTES,
) -> Out:
    """The record for ``deadletter``: original key, value and headers, then the reason.

    Of an ``exception`` what caused it, or itself, is told: its class, and where it was raised (lines of code, no values).
    ``came`` is the :func:`origin` of a record that went through
    ``rekeyed``: its first key, headers and place are restored. ``timestamp`` replaces the record's own.
    A header's name that is not UTF-8 is written :func:`legible`, for nobody could read the letter otherwise.
    An original of more than ``most`` bytes is too large for ``deadletter``: it is cut, and a header says so.
    """
    at = came or Origin(record.topic, record.partition, record.offset, record.key, list(record.headers))
    headers = [(legible(name), content) for name, content in at.headers]
    raised = exception and (exception.__cause__ or exception)
    reason: list[Header] = [
        (names.EXCEPTION, _text(type(raised).__name__ if raised else rule, _MESSAGE_MAX_CHARACTERS)),
        (names.MESSAGE, _text(message, _MESSAGE_MAX_CHARACTERS)),
        (names.TOPIC, at.topic.encode()),
        (names.PARTITION, str(at.partition).encode()),
        (names.OFFSET, str(at.offset).encode()),
        (names.STAGE, stage.encode()),
        (names.RULE, rule.encode()),
    ]
    if raised and raised.__traceback__:
        where = "".join(format_tb(raised.__traceback__, -_FRAMES))
        reason.append((names.STACKTRACE, _text(where)[-names.STACKTRACE_MAX_BYTES :]))
    key, value = at.key, record.value
    stamp = record.timestamp if timestamp is None else timestamp
    if _size(key, value, headers) > most:
        key, value, headers = _cut(key, value, headers, reason, most)
    return Out(key, value, stamp, headers + reason)


def legible(name: str) -> str:
    r"""A header's name as it can be written; a byte that is not UTF-8 (a surrogate, PEP 383) becomes ``\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _text(text: str, most: int | None = None) -> bytes:
    return text[:most].encode("utf-8", "replace")


def _size(key: bytes | None, value: bytes | None, headers: list[Header]) -> int:
    return (
        len(key or b"") + len(value or b"") + sum(len(name) * 4 + len(content or b"") + 8 for name, content in headers)
    )


def _cut(
    key: bytes | None, value: bytes | None, headers: list[Header], reason: list[Header], most: int
) -> tuple[bytes | None, bytes | None, list[Header]]:
    """What of an over-sized original fits: a key or headers of more than 32 KiB each go, then the value's end."""
    reason.append((names.TRUNCATED_FROM, str(_size(key, value, headers)).encode()))
    key = key and key[:_MAX_HEADERS_BYTES]
    headers = headers if _size(None, None, headers) <= _MAX_HEADERS_BYTES else []
    return key, value and value[: most - _size(key, None, headers)], headers
