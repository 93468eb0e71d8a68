"""A backtest's raw records, in the order in which they would have come: events at their time, labels at theirs + lag."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Any

import msgspec

from schemas.codec import to_ms
from services.cleaning.core.decode import Reader
from services.cleaning.core.rules import Rejected
from services.cleaning.core.times import TimeReader
from services.cli.offline import Kind, Raw
from services.cli.produce import records, texts_of
from services.domain.spec import Spec, duration

_NEIGHBOURS = 9
_UNORDERED_SHARE = 0.05
_FLIGHTS_RECORDS_A_DAY = 1_820
_MILLISECOND = timedelta(milliseconds=1)
_Read = tuple[int | None, bytes | None, bytes]


def from_files(spec: Spec, events: Path, labels: Path, lag: timedelta = timedelta()) -> tuple[list[Raw], int]:
    """The records of two files of JSON lines or CSV, keyed by their ids, in the order of their own times; and how many.

    A label comes ``lag`` after its time, before an event of the same moment. A record without a readable time keeps
    the place behind its predecessor; so does, in a file that is otherwise in order, one whose time lies more than
    ``max_ahead`` beyond its neighbours'. ProduceError when a file cannot be read.
    """
    ahead = duration(spec.event.max_ahead) // _MILLISECOND
    placed = [
        _in_order(_read(spec, "label", labels), "label", ahead, lag // _MILLISECOND),
        _in_order(_read(spec, "event", events), "event", ahead, 0),
    ]
    merged = list(heapq.merge(*placed, key=lambda raw: raw.timestamp))
    return merged, len(merged)


def flights(
    days: int, dirt: float, seed: int, lag: timedelta = timedelta(), limit: int | None = None
) -> tuple[Iterator[Raw], int]:
    """The flights of the first ``days`` days of 2013, a share ``dirt`` of them soiled; and about how many records.

    With dirt, distances arrive in kilometres from 14 to 21 February, as in ``rivermill demo``.
    """
    from examples.flights import data  # noqa: PLC0415 - only this example needs the data set
    from examples.flights import dirt as soiling  # noqa: PLC0415 - as above

    sends = soiling.soil(data.flights(days, limit), dirt, seed, kilometres=dirt > 0)
    raws = (Raw(send.kind, send.at * 1000, send.key, send.value) for send in sends)
    return delayed(raws, lag), days * _FLIGHTS_RECORDS_A_DAY


def delayed(raws: Iterable[Raw], lag: timedelta) -> Iterator[Raw]:
    """Records in order, their labels ``lag`` later; a label comes before an event of the same moment."""
    delay = lag // _MILLISECOND
    waiting: deque[Raw] = deque()
    for raw in raws:
        while waiting and waiting[0].timestamp <= raw.timestamp:
            yield waiting.popleft()
        if raw.kind == "label" and delay:
            waiting.append(msgspec.structs.replace(raw, timestamp=raw.timestamp + delay))
        else:
            yield raw
    yield from waiting


def _read(spec: Spec, kind: Kind, source: Path) -> list[_Read]:
    """Time (ms), key and value of each record of a file."""
    identify = _identifier(spec, kind)
    return [(*identify(value), value) for block in records(source, texts=texts_of(spec, kind)) for _, value in block]


def _identifier(spec: Spec, kind: Kind) -> Callable[[bytes], tuple[int | None, bytes | None]]:
    """Reads time and key as cleaning would; None for what cannot be read."""
    table = spec.event if kind == "event" else spec.label
    times = TimeReader(spec.event)
    reader = Reader({table.id: str | int, table.time: times.type}, {})
    fields = [("id", str | int, msgspec.field(name=table.id)), ("time", times.type, msgspec.field(name=table.time))]
    quick = msgspec.json.Decoder(msgspec.defstruct("Identified", fields)).decode

    def identify(value: bytes) -> tuple[int | None, bytes | None]:
        try:
            found: Any = quick(value)
            name, raw = found.id, found.time
            repaired: list[Any] | None = None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            try:
                name, raw = reader.lenient(value, [])
                repaired = []
            except Rejected:
                return None, None
        return _moment(times, raw, table.time, repaired), _key(name)

    return identify


def _moment(times: TimeReader, raw: object, field: str, changes: list[Any] | None) -> int | None:
    try:
        time: datetime = times.read(raw, field, changes)
    except Rejected:
        return None
    return to_ms(time)


def _key(name: object) -> bytes | None:
    if not isinstance(name, str | int) or isinstance(name, bool):
        return None
    return str(name).encode(errors="replace")


def _in_order(read: Sequence[_Read], kind: Kind, ahead: int, delay: int) -> list[Raw]:
    placed = [
        Raw(kind, time + delay, key, value) for time, (_, key, value) in zip(_places(read, ahead), read, strict=True)
    ]
    placed.sort(key=lambda raw: raw.timestamp)
    return placed


def _places(read: Sequence[_Read], ahead: int) -> Iterator[int]:
    """The time by which each record is placed."""
    times = [time for time, _, _ in read]
    known = [time for time in times if time is not None]
    if not known:
        yield from (0 for _ in times)
        return
    falls = sum(after < before - ahead for before, after in pairwise(known))
    bounded = falls <= _UNORDERED_SHARE * len(known)
    last, number = known[0], 0
    for time in times:
        if time is not None:
            if not bounded or time <= last + ahead or not _alone(known, number, ahead):
                last = time
            number += 1
        yield last


def _alone(known: list[int], number: int, ahead: int) -> bool:
    """Whether a time lies that far beyond what comes before it and what comes after it."""
    sides = (known[max(0, number - _NEIGHBOURS) : number], known[number + 1 : number + 1 + _NEIGHBOURS])
    return all(known[number] > median_low(side) + ahead for side in sides if side)
