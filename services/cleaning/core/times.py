"""Event and label times: read, checked, and held against the clock."""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from schemas.codec import from_ms
from schemas.events import Change
from services.cleaning.core.rules import Rejected, change, shown
from services.domain.spec import EventTable

RECEIVED = 9
"""How many event times the replay clock remembers."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?\Z")
_UNSET = timedelta(days=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
_UNSET_YEARS = (1969, 1970)


class TimeReader:
    """Reads times of the pipeline's format to aware UTC datetimes.

    RFC 3339 without an offset is local time of ``timezone``: an hour that happens twice counts as its first, one that
    never happens is moved forward by the gap (PEP 495, fold 0).
    """

    def __init__(self, event: EventTable) -> None:
        self._format = event.time_format
        self._zone = ZoneInfo(event.timezone)
        self.type: Any = datetime if event.time_format == "rfc3339" else int | float

    def read(self, raw: Any, field: str, changes: list[Change] | None) -> datetime:
        """The time of a raw value; ``changes`` is None when it came through the strict decode. Rejected if unusable."""
        if changes is None and type(raw) is datetime and raw.tzinfo is UTC and _UNSET_YEARS[1] < raw.year <= _LAST_YEAR:
            return raw  # nearly every time, and nothing below would change it
        if changes is not None:
            raw = self._repaired(raw, field, changes)
        if raw is None:
            raise Rejected("time_missing", f"field {field!r}: no time")
        time = self._aware(raw, field)
        if time.year in _UNSET_YEARS and _EPOCH - _UNSET < time < _EPOCH + _UNSET:
            raise Rejected("time_invalid", f"field {field!r}: {shown(raw)} is the time of a clock that was never set")
        return time

    def _aware(self, raw: Any, field: str) -> datetime:
        try:
            time = self._utc(raw)
            if _FIRST_YEAR <= time.year <= _LAST_YEAR:
                return time
        except (OverflowError, ValueError):
            pass
        raise Rejected(
            "time_invalid", f"field {field!r}: {shown(raw)} as {self._format} is no time of {_FIRST_YEAR}-{_LAST_YEAR}"
        )

    def _utc(self, raw: Any) -> datetime:
        if isinstance(raw, datetime):
            if raw.tzinfo is UTC:
                return raw
            return (raw if raw.tzinfo else raw.replace(tzinfo=self._zone)).astimezone(UTC)
        if self._format == "epoch_ms":
            return _EPOCH + timedelta(milliseconds=raw)
        return _EPOCH + timedelta(seconds=raw)

    def _repaired(self, raw: Any, field: str, changes: list[Change]) -> Any:
        """What came, as the strict decode would have typed it."""
        if isinstance(raw, str):
            stripped = raw.strip()
            if stripped != raw:
                changes.append(change(field, "spaces", raw, _clean(stripped)))
            if not stripped:
                return None
            return self._from_text(stripped, field, changes)
        good = raw is None or (self._format != "rfc3339" and isinstance(raw, int | float) and not isinstance(raw, bool))
        if not good and not isinstance(raw, datetime):
            raise Rejected("time_invalid", f"field {field!r}: expected {self._format}, got {shown(raw)}")
        return raw

    def _from_text(self, text: str, field: str, changes: list[Change]) -> Any:
        if self._format == "rfc3339":
            try:
                return msgspec.convert(text, datetime)
            except (msgspec.MsgspecError, ValueError):
                pass
        elif _NUMBER.match(text):
            number = float(text) if "." in text else int(text)
            changes.append(change(field, "number_text", text, float(number)))
            return number
        raise Rejected("time_invalid", f"field {field!r}: expected {self._format}, got {shown(text)}")


def _clean(text: str) -> str:
    after = change("", "", text, None).before
    return after if isinstance(after, str) else ""


class Clock:
    """Says which times lie too far ahead.

    Wall: more than ``max_ahead`` beyond the record's Kafka timestamp. Replay: more than that beyond the median of the
    last nine event times the lane received before, whatever became of them (the lower one of two middles, no bound
    before the first): after a gap longer than ``max_ahead`` in the replayed times the first five events beyond it are
    rejected. A label may lie ahead of that median by its horizon as well.
    """

    def __init__(self, kind: str, max_ahead: timedelta, horizon: timedelta) -> None:
        self.received: deque[datetime] = deque(maxlen=RECEIVED)
        self._replay = kind == "replay"
        self._max_ahead = max_ahead
        self._label_ahead = max_ahead + horizon if self._replay else max_ahead
        self._least = self._surely = _NEVER

    def check_event(self, time: datetime, stamp: int) -> None:
        """Take note of an event's time; Rejected when it lies too far ahead."""
        if self._replay:
            received = self.received
            late = time > self._surely and bool(received) and self._beyond(time, self._max_ahead)
            received.append(time)
            if time < self._least:
                self._reach(time)
            if late:
                raise self._rejected(time, self._max_ahead)
        elif time - self._max_ahead > from_ms(stamp):
            raise self._rejected(time, self._max_ahead)

    def check_label(self, time: datetime, stamp: int) -> None:
        """Rejected when a label's time lies too far ahead."""
        if self._replay:
            if self.received and self._beyond(time, self._label_ahead):
                raise self._rejected(time, self._label_ahead)
        elif time - self._label_ahead > from_ms(stamp):
            raise self._rejected(time, self._label_ahead)

    def _beyond(self, time: datetime, ahead: timedelta) -> bool:
        received, least = self.received, time - ahead
        self._reach(min(received))
        return least > self._least and least > sorted(received)[(len(received) - 1) // 2]

    def _reach(self, least: datetime) -> None:
        """No time received lies before ``least``, so up to max_ahead beyond it none is late, whatever the median."""
        self._least, self._surely = least, least + self._max_ahead

    def _rejected(self, time: datetime, ahead: timedelta) -> Rejected:
        of = "the lane's recent event times" if self._replay else "the time it came in"
        return Rejected("time_ahead", f"{time.isoformat()} lies more than {ahead} beyond {of}")
