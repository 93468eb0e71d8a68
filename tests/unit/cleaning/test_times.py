from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.cleaning.core import Clean
from tests.unit.cleaning.pipelines import (
    HERE,
    NOON,
    NOW,
    TOPICS,
    cleaned,
    dead,
    event,
    label,
    one,
    pipeline,
    raw,
    rules,
)

NEW_YORK = 'timezone = "America/New_York"'


@pytest.mark.parametrize(
    ("tables", "at", "expected"),
    [
        ("", "2025-01-01T12:00:00Z", "2025-01-01T12:00:00Z"),
        ("", "2025-01-01 13:00:00.25+01:00", "2025-01-01T12:00:00.25Z"),
        ("", " 2025-01-01T12:00:00 ", "2025-01-01T12:00:00Z"),
        (NEW_YORK, "2024-07-01T12:00:00", "2024-07-01T16:00:00Z"),
        (NEW_YORK, "2024-12-01T12:00:00", "2024-12-01T17:00:00Z"),
        (NEW_YORK, "2024-11-03T01:30:00", "2024-11-03T05:30:00Z"),
        (NEW_YORK, "2024-03-10T02:30:00", "2024-03-10T07:30:00Z"),
        ('time_format = "epoch_s"', 1735732800, "2025-01-01T12:00:00Z"),
        ('time_format = "epoch_s"', 1735732800.5, "2025-01-01T12:00:00.5Z"),
        ('time_format = "epoch_s"', "1735732800", "2025-01-01T12:00:00Z"),
        ('time_format = "epoch_ms"', 1735732800250, "2025-01-01T12:00:00.25Z"),
        ('time_format = "epoch_ms"', " 1735732800250 ", "2025-01-01T12:00:00.25Z"),
    ],
)
def test_times_are_read_in_the_files_format_and_zone(tables: str, at: Any, expected: str) -> None:
    """Every way to write a moment gives the same UTC time; of an hour that happens twice the first counts."""
    clean, rule = one(raw(at=at), event=tables)
    assert clean is not None, rule
    assert clean.time == msgspec.convert(expected, datetime)


@pytest.mark.parametrize(
    ("tables", "at"),
    [
        ('time_format = "epoch_s"', 0),
        ('time_format = "epoch_s"', 3600),
        ('time_format = "epoch_s"', 1735732800250),
        ('time_format = "epoch_s"', 1e300),
        ('time_format = "epoch_s"', 10**300),
        ('time_format = "epoch_s"', float("nan")),
        ('time_format = "epoch_s"', NOON),
        ('time_format = "epoch_ms"', 0),
        ('time_format = "epoch_ms"', True),
        ('time_format = "epoch_ms"', float("inf")),
        (NEW_YORK, "1970-01-01T00:00:00"),
        ("", "1899-12-31T23:59:59Z"),
        ("", "2200-01-01T00:00:00Z"),
    ],
)
def test_a_time_no_clock_shows_is_rejected(tables: str, at: Any) -> None:
    """Zero, wrong units and years outside 1900-2199 are dead letters."""
    assert one(raw(at=at), event=tables) == (None, "time_invalid")


def replay(times: list[datetime]) -> list[str]:
    """What becomes of events with these times under the replay clock with max_ahead = 1d."""
    core = Clean(pipeline(event='clock = "replay"'), 0, 4, TOPICS)
    said = []
    for number, time in enumerate(times):
        out = core.process([event(raw(number, at=time.isoformat()))], NOW)
        said.append("ok" if cleaned(out) else rules(dead(out))[0])
    return said


def test_the_replay_clock_rejects_a_wild_time_and_goes_on() -> None:
    """One event a year ahead is a dead letter and moves no bound, wherever in the log it stands but at the start."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    wild = [start + timedelta(hours=n) for n in range(12)]
    for place in range(1, 12):
        times = [*wild[:place], start + timedelta(days=365), *wild[place:]]
        assert [n for n, said in enumerate(replay(times)) if said != "ok"] == [place]


def test_the_replay_clock_follows_a_gap_in_the_log() -> None:
    """After a jump of more than max_ahead the first five events are dead letters, all later ones pass."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=n, days=60 if n >= 10 else 0) for n in range(20)]
    assert replay(times) == ["ok"] * 10 + ["time_ahead"] * 5 + ["ok"] * 5


def test_labels_under_the_replay_clock_may_lie_ahead_by_the_horizon_too() -> None:
    """A label is held against the events' median time plus max_ahead plus horizon; before any event, against nothing."""
    spec = pipeline(event='clock = "replay"')
    for events, hours, expected in ((0, 9999, ""), (1, 47, ""), (1, 49, "time_ahead")):
        known = (datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(hours=hours)).isoformat()
        core = Clean(spec, 0, 4, TOPICS)
        core.process([event(raw())] * events, NOW)
        out = core.process([label({"id": HERE[0], "late": True, "known_at": known})], NOW)
        assert "".join(rules(dead(out))) == expected


def test_the_wall_clock_holds_a_time_against_its_own_record() -> None:
    """An event may lie max_ahead beyond the Kafka timestamp of its record and no further."""
    core = Clean(pipeline(event='max_ahead = "1h"'), 0, 4, TOPICS)
    noon = 1_735_732_800_000
    out = core.process([event(raw(0), stamp=noon - 3_600_000), event(raw(1), stamp=noon - 3_600_001)], NOW)
    assert (len(cleaned(out)), rules(dead(out))) == (1, ["time_ahead"])


@pytest.mark.parametrize(
    ("topic", "stamp", "expected"),
    [
        ('topic = "theirs"', NOW - 1, NOW - 1),
        ('topic = "theirs"', NOW + 1, NOW),
        ('topic = "theirs"', NOW - 4 * 86_400_000, NOW),
        ('topic = "theirs"', -1, NOW),
        ("", NOW + 1, NOW + 1),
        ("", NOW - 4 * 86_400_000, NOW - 4 * 86_400_000),
    ],
)
def test_a_foreign_stamp_that_retention_would_act_on_is_replaced(topic: str, stamp: int, expected: int) -> None:
    """Stamps of a producer's own topic that lie ahead, or behind half the retention, become the time of reading."""
    times = 'max_ahead = "30d"\n' + topic
    out = Clean(pipeline(event=times), 0, 4, TOPICS).process([event(raw(), stamp=stamp), event(b"", stamp=stamp)], NOW)
    assert {record.timestamp for records in out.sends.values() for record in records} == {expected}
