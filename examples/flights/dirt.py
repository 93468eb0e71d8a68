"""Soils a tidy stream of flights, so that there is something to clean: seeded, and told apart by kind.

Which flight is soiled, and how, depends on the seed and its id alone: not on how many flights are replayed.
"""

from __future__ import annotations

import heapq
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any, Literal

import msgspec

from examples.flights.data import Event, Flight, Label, text_of

SHARE = 0.03
SEED = 2013
KILOMETRES_FROM, KILOMETRES_TO = "2013-02-14", "2013-02-21"
"""The drift on purpose: the days, both included, on which distances arrive in kilometres."""
_KILOMETRES = 1.609344
_YEAR_S = 365 * 24 * 3600
_SCALE = 1 << 32
_MARK = "__literal__"

Fields = dict[str, Any]


class Send(msgspec.Struct, frozen=True, gc=False):
    """One record to produce at event time ``at`` (epoch seconds); ``dirt`` names what is wrong with it, "" nothing."""

    at: int
    kind: Literal["event", "label"]
    key: bytes | None
    value: bytes
    dirt: str = ""


def soil(flights: Iterable[Flight], share: float = SHARE, seed: int = SEED, kilometres: bool = True) -> Iterator[Send]:
    """Events and labels of ``flights`` in order of event time, a ``share`` of the flights soiled.

    A label comes at the landing. ``flights`` come by scheduled departure, as :func:`examples.flights.data.flights`
    gives them.
    """
    waiting: list[tuple[int, int, Send]] = []
    count = itertools.count()
    for flight in flights:
        while waiting and waiting[0][0] <= flight.scheduled:
            yield heapq.heappop(waiting)[2]
        for send in _sends(flight, share, seed, kilometres):
            if send.at <= flight.scheduled:
                yield send
            else:
                heapq.heappush(waiting, (send.at, next(count), send))
    while waiting:
        yield heapq.heappop(waiting)[2]


def in_kilometres(flight: Flight) -> bool:
    """Whether a flight left on a day on which distances arrive in kilometres."""
    return KILOMETRES_FROM <= flight.event.flight_id[:10] <= KILOMETRES_TO


def _sends(flight: Flight, share: float, seed: int, kilometres: bool) -> Iterable[Send]:
    event = flight.event
    drifted = kilometres and in_kilometres(flight)
    if drifted:
        event = msgspec.structs.replace(event, distance=round(event.distance * _KILOMETRES, 1))
    chance = zlib.crc32(event.flight_id.encode(), seed)
    if chance >= share * _SCALE:
        return _tidy(flight, event, "kilometres" if drifted else "")
    random = Random(chance)  # noqa: S311 - dirt wants to be repeatable, not unguessable
    kind = random.choice(EVENT_DIRT if flight.label is None else (*EVENT_DIRT, *LABEL_DIRT))
    if kind in _VALUES:
        value = _VALUES[kind](msgspec.to_builtins(event), random)
        soiled = Send(flight.scheduled, "event", event.flight_id.encode(), value, kind)
        return [soiled, *_labels(flight)]
    return _ORDERS[kind](flight, event, random)


def _tidy(flight: Flight, event: Event, dirt: str = "") -> list[Send]:
    return [_event(flight.scheduled, event, dirt), *_labels(flight)]


def _event(at: int, event: Event, dirt: str = "") -> Send:
    return Send(at, "event", event.flight_id.encode(), msgspec.json.encode(event), dirt)


def _label(at: int, label: Label, dirt: str = "") -> Send:
    return Send(at, "label", label.flight_id.encode(), msgspec.json.encode(label), dirt)


def _labels(flight: Flight) -> list[Send]:
    label = flight.label
    return [] if label is None or flight.landed is None else [_label(flight.landed, label)]


# What is wrong with the value of an event ---------------------------------------------------------------------------


def _boolean_spelling(fields: Fields, random: Random) -> bytes:
    spellings = ("Y", "yes", "TRUE", 1) if fields["holiday"] else ("N", "no", "FALSE", 0)
    return _json(fields | {"holiday": random.choice(spellings)})


def _case_and_spaces(fields: Fields, random: Random) -> bytes:
    name = random.choice(("carrier", "origin", "dest"))
    return _json(
        fields | {name: random.choice((fields[name].lower(), f" {fields[name]}", f"{fields[name].lower()}  "))}
    )


def _unknown_field(fields: Fields, random: Random) -> bytes:
    return _json(fields | {random.choice(("gate", "agent", "remarks")): f"x{random.randrange(100)}"})


def _constant_field(fields: Fields, _: Random) -> bytes:
    return _json(fields | {"source": "departures-v1"})


def _impossible_distance(fields: Fields, random: Random) -> bytes:
    return _json(fields | {"distance": random.choice((-1, -fields["distance"], 99_999, 1e12))})


def _missing_value(fields: Fields, random: Random) -> bytes:
    name = random.choice(("distance", "scheduled_minutes", "temp", "humid", "visib", "dest"))
    if random.random() < 0.5:  # noqa: PLR2004 - half of them null, half of them absent
        return _json(fields | {name: None})
    return _json({each: value for each, value in fields.items() if each != name})


def _nan(fields: Fields, random: Random) -> bytes:
    literal = random.choice((b"NaN", b"Infinity", b"-Infinity", b'"NaN"'))
    soiled = _json(fields | {random.choice(("distance", "temp", "wind_speed")): _MARK})
    return soiled.replace(f'"{_MARK}"'.encode(), literal)


def _truncated_json(fields: Fields, random: Random) -> bytes:
    value = _json(fields)
    return value[: random.randrange(1, len(value))]


def _bad_utf8(fields: Fields, random: Random) -> bytes:
    bad = random.choice((b"\xff\xfe", b"\xc3(", b"\xe2\x82"))
    return _json(fields | {"dest": _MARK}).replace(_MARK.encode(), bad)


def _time_ahead(fields: Fields, _: Random) -> bytes:
    when = fields["scheduled_departure"]
    return _json(fields | {"scheduled_departure": f"{int(when[:4]) + 1}{when[4:]}"})


def _json(fields: Fields) -> bytes:
    return msgspec.json.encode(fields)


# What is wrong with keys, repeats and order -------------------------------------------------------------------------


def _wrong_key(flight: Flight, event: Event, random: Random) -> list[Send]:
    tidy = _event(flight.scheduled, event, "wrong_key")
    key = random.choice((None, b"", b"0", event.origin.encode()))
    return [msgspec.structs.replace(tidy, key=key), *_labels(flight)]


def _duplicate(flight: Flight, event: Event, random: Random) -> list[Send]:
    return [*_tidy(flight, event), _event(flight.scheduled + random.randrange(1, 3600), event, "duplicate")]


def _label_twice(flight: Flight, event: Event, random: Random) -> list[Send]:
    again = [
        msgspec.structs.replace(each, at=each.at + random.randrange(1, 3600), dirt="label_twice")
        for each in _labels(flight)
    ]
    return [*_tidy(flight, event), *again]


def _label_changed(flight: Flight, event: Event, random: Random) -> list[Send]:
    """First the opposite, then what is so."""
    sends = [_event(flight.scheduled, event)]
    if flight.landed is not None and flight.late is not None:
        wrong = Label(event.flight_id, not flight.late, text_of(flight.landed))
        right = Label(event.flight_id, flight.late, text_of(flight.landed))
        sends += [_label(flight.landed, wrong, "label_changed")]
        sends += [_label(flight.landed + random.randrange(60, 3600), right)]
    return sends


def _label_first(flight: Flight, event: Event, random: Random) -> list[Send]:
    """The event is held up until after the landing."""
    labels = [msgspec.structs.replace(each, dirt="label_first") for each in _labels(flight)]
    at = flight.landed or flight.scheduled
    return [*labels, _event(at + random.randrange(1800, 7200), event)]


def _label_of_nothing(flight: Flight, event: Event, _: Random) -> list[Send]:
    sends = _tidy(flight, event)
    stray = [
        _label(each.at, Label(f"{event.flight_id[:10]}-ZZ-{event.flight}-{event.origin}", True, text_of(each.at)))
        for each in sends[1:]
    ]
    return [*sends, *(msgspec.structs.replace(each, dirt="label_of_nothing") for each in stray)]


_VALUES: dict[str, Callable[[Fields, Random], bytes]] = {
    "boolean_spelling": _boolean_spelling,
    "case_and_spaces": _case_and_spaces,
    "unknown_field": _unknown_field,
    "constant_field": _constant_field,
    "impossible_distance": _impossible_distance,
    "missing_value": _missing_value,
    "nan": _nan,
    "truncated_json": _truncated_json,
    "bad_utf8": _bad_utf8,
    "time_ahead": _time_ahead,
}
_ORDERS: dict[str, Callable[[Flight, Event, Random], list[Send]]] = {
    "wrong_key": _wrong_key,
    "duplicate": _duplicate,
    "label_twice": _label_twice,
    "label_changed": _label_changed,
    "label_first": _label_first,
    "label_of_nothing": _label_of_nothing,
}
EVENT_DIRT = (*_VALUES, "wrong_key", "duplicate")
LABEL_DIRT = ("label_twice", "label_changed", "label_first", "label_of_nothing")
"""Kinds that only a flight with a label can have."""
