"""Features that are derived from an event's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DERIVE: dict[str, Callable[[datetime], str]] = {
    "hour": lambda local: f"{local.hour:02d}",
    "weekday": lambda local: _WEEKDAYS[local.weekday()],
    "month": lambda local: f"{local.month:02d}",
}
_HOUR = timedelta(hours=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Derived:
    """Texts in the event's time zone: hour ``00``-``23``, weekday ``mon``-``sun``, month ``01``-``12``.

    They are the same for all times of one local hour: events mostly come hour by hour.
    """

    def __init__(self, kinds: Sequence[str], timezone: str) -> None:
        self._derive = [_DERIVE[kind] for kind in kinds]
        self._zone = ZoneInfo(timezone)
        self._begin = self._end = _NEVER
        self._texts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._derive)

    def of(self, time: datetime) -> tuple[str, ...]:
        """The texts for a time in UTC."""
        if self._derive and not self._begin <= time < self._end:
            self._turn(time)
        return self._texts

    def _turn(self, time: datetime) -> None:
        local = time.astimezone(self._zone)
        self._texts = tuple(derive(local) for derive in self._derive)
        self._begin = time - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        self._end = self._begin + _HOUR
        ends = (moment.astimezone(self._zone) for moment in (self._begin, self._end))
        if any(end.utcoffset() != local.utcoffset() for end in ends):
            self._end = self._begin  # the clocks change within the hour: each time by itself
