"""Mutations of bytes: blind ones, and those that know what JSON, TOML and numbers look like. Pure: a seed, the same bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

TOKENS = (
    b"null", b"true", b"false", b"0", b"-0", b"-0.0", b"1", b"0.37", b"1e308", b"1e999", b"-1e-400", b"NaN", b"Infinity",
    b"-Infinity", b"9" * 400, b"9" * 5000, b"1" * 20 + b".5", b'""', b'" "', b'"Y"', b'"yes"', b'"TRUE"', b'"off"',
    b'" 7 "', b'"7,5"', b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf", b"\x00", b"[]", b"{}",
    b"[" * 600, b"{" * 600, b'{"a":' * 600, b'"2025-01-01T12:00:00Z"', b'"1970-01-01T00:00:00Z"', b'"0001-01-01T00:00:00Z"',
    b'"9999-12-31T23:59:59-12:00"', b'"2025-02-30T25:61:00"', b"1735732800", b"-1", b"18446744073709551616", b",", b":",
    b'"', b"\\", b"}", b"]", b"=", b"\n", b"'''", b"\xc1", b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8,
)  # fmt: skip
"""What decoders stumble over."""
_VALUE = re.compile(rb"[:=]\s*([^,}\]\n]+)")
_NAME = re.compile(rb'"?([A-Za-z_]\w*)"?\s*[:=]')
_MOST_OPERATIONS = 4
_MOST_BYTES = 64 * 1024

Change = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutated(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """One of the seeds, changed in one to four ways; at most 64 KiB."""
    data = bytearray(rng.choice(seeds))
    changes = rng.choice((_BLIND, _KNOWING, _KNOWING, _BLIND + _KNOWING))
    for _ in range(rng.randint(1, _MOST_OPERATIONS)):
        rng.choice(changes)(data, rng, seeds)
    return bytes(data[:_MOST_BYTES])


def _span(data: bytearray, rng: random.Random) -> slice:
    start = rng.randint(0, len(data))
    return slice(start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64))))


def _flip(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = _span(data, rng)
    data[at] = rng.randbytes(at.stop - at.start)


def _cut(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[_span(data, rng)]


def _end(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


def _double(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = _span(data, rng)
    data[at.stop : at.stop] = data[at] * rng.choice((1, 1, 2, 50))


def _insert(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.choice(TOKENS)


def _splice(data: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    other = bytearray(rng.choice(seeds))
    data[_span(data, rng)] = other[_span(other, rng)]


def _value(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if found := list(_VALUE.finditer(data)):
        start, stop = rng.choice(found).span(1)
        data[start:stop] = rng.choice(TOKENS)


def _name(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    found = [match.span(1) for match in _NAME.finditer(data)]
    if len(found) > 1:
        (start, stop), other = rng.choice(found), rng.choice(found)
        data[start:stop] = data[slice(*other)]


_BLIND: tuple[Change, ...] = (_flip, _overwrite, _cut, _end, _double, _insert, _splice)
_KNOWING: tuple[Change, ...] = (_value, _value, _value, _name)
