"""The flights as events and late labels: the numbers that the data set is known by."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import pytest

from examples.flights.data import HOLIDAYS, Flight, flights


@dataclass
class Year:
    ids: set[str] = field(default_factory=set)
    delays: list[float] = field(default_factory=list)
    order: list[tuple[int, str, str, int]] = field(default_factory=list)
    late: int = 0
    without_weather: int = 0
    holidays: set[str] = field(default_factory=set)
    missing: dict[str, int] = field(default_factory=dict)
    least_minutes: int = 10_000
    most_minutes: int = 0

    def add(self, flight: Flight) -> None:
        event = flight.event
        self.ids.add(event.flight_id)
        self.order.append((flight.scheduled, event.origin, event.carrier, event.flight))
        if flight.landed is not None:
            self.delays.append((flight.landed - flight.scheduled) / 60)
            self.late += flight.late is True
        for name in ("pressure", "wind_dir", "wind_gust"):
            self.missing[name] = self.missing.get(name, 0) + (getattr(event, name) is None)
        self.without_weather += event.visib is None
        self.least_minutes = min(self.least_minutes, event.scheduled_minutes)
        self.most_minutes = max(self.most_minutes, event.scheduled_minutes)
        if event.holiday:
            self.holidays.add(event.flight_id[:10])


@pytest.fixture(scope="module")
def year() -> Year:
    collected = Year()
    for flight in flights():
        collected.add(flight)
    return collected


def test_every_flight_and_label_of_the_year_is_there(year: Year) -> None:
    """336,776 flights, 327,346 of them with a label, 23.7 % of those late."""
    assert len(year.order) == 336_776
    assert len(year.delays) == 327_346
    assert round(year.late / len(year.delays), 3) == 0.237


def test_ids_are_unique(year: Year) -> None:
    """Date, carrier, flight and origin tell any two flights apart."""
    assert len(year.ids) == len(year.order)


def test_labels_come_when_the_aircraft_has_landed(year: Year) -> None:
    """The median label comes 170 minutes after the scheduled departure, none before it, the last after 32.7 hours."""
    assert statistics.median(year.delays) == 170
    assert min(year.delays) > 0
    assert round(max(year.delays) / 60, 1) == 32.7


def test_order_does_not_tell_who_left_late(year: Year) -> None:
    """Flights come by scheduled departure, origin, carrier and number: by what is known beforehand."""
    assert year.order == sorted(year.order)


def test_scheduled_minutes_are_those_of_real_flights(year: Year) -> None:
    """No flight takes less than 20 minutes or more than 12 hours by its schedule, whatever the zones in between."""
    assert year.least_minutes >= 20
    assert year.most_minutes <= 720


def test_weather_is_missing_where_it_was_not_recorded(year: Year) -> None:
    """The gaps in the weather are kept as missing values."""
    assert year.without_weather == 1_342
    assert year.missing == {"pressure": 38_522, "wind_dir": 9_451, "wind_gust": 256_908}


def test_holidays_are_the_ten_federal_ones(year: Year) -> None:
    """Exactly the flights of the ten federal holidays carry holiday = true."""
    assert year.holidays == {str(day) for day in HOLIDAYS}
    assert len(HOLIDAYS) == 10


def test_the_first_sixty_days_and_a_limit() -> None:
    """Sixty days are 52,913 flights with 50,953 labels; a limit takes the first ones of them."""
    sixty = list(flights(60))
    assert len(sixty) == 52_913
    assert sum(flight.label is not None for flight in sixty) == 50_953
    assert list(flights(60, limit=3)) == sixty[:3]
    event, label = sixty[0].event, sixty[0].label
    assert (event.flight_id, event.scheduled_departure) == ("2013-01-01-UA-1545-EWR", "2013-01-01T10:15:00Z")
    assert label is not None
    assert (label.flight_id, label.late, label.arrived_at) == (event.flight_id, False, "2013-01-01T14:30:00Z")
