from __future__ import annotations

import pytest

from services.cleaning.core import Clean
from services.domain.records import Out
from tests.unit.cleaning.pipelines import (
    HERE,
    NOON,
    NOW,
    TOPICS,
    cleaned,
    dead,
    event,
    ids,
    label,
    pipeline,
    raw,
    rules,
)
from tests.unit.records import Rec

FORGED = [("rivermill.rekeyed_from", b"p.labels.raw/9/9"), ("rivermill.original_key", b"forged"), ("theirs", b"1")]
ELSEWHERE = ids(2, 3)


def hop(sent: Out, lane: int) -> Rec:
    """The re-keyed record as the other lane reads it."""
    return Rec(TOPICS.rekeyed, lane, 0, sent.timestamp, sent.key, sent.value, sent.headers)


@pytest.mark.parametrize("lane", [0, 5])
@pytest.mark.parametrize("key", [None, b"", b"whatever"])
def test_a_record_of_another_lane_goes_once_through_rekeyed(lane: int, key: bytes | None) -> None:
    """Event and label reach the lane of their id with value, timestamp and origin, and are cleaned there in place."""
    good = raw(id=ELSEWHERE[0])
    batch = [
        event(good, key=key, headers=FORGED, offset=7, stamp=NOW - 5),
        label({"id": ELSEWHERE[0], "late": True, "known_at": NOON}, key=key, offset=8),
    ]
    here = Clean(pipeline(), lane, 4, TOPICS)
    out = here.process(batch, NOW)
    assert list(out.sends) == [("rekeyed", 2)]
    sent = out.sends["rekeyed", 2]
    assert [record.key for record in sent] == [ELSEWHERE[0].encode()] * 2
    assert (here.totals["rekeyed_events"], here.totals["rekeyed_labels"]) == (1, 1)

    there = Clean(pipeline(), 2, 4, TOPICS)
    out = there.process([hop(record, 2) for record in sent], NOW)
    assert [e.event_id for e in cleaned(out, 2)] == [ELSEWHERE[0]]
    assert [record.timestamp for record in out.sends["events.clean", 2]] == [NOW - 5]
    assert len(out.sends["labels.clean", 2]) == 1
    assert there.totals["rekeyed_in"] == 2
    assert there.totals["events_in"] == there.totals["labels_in"] == 0


@pytest.mark.parametrize("key", [None, b"", b"whatever"])
def test_a_dead_letter_restores_what_the_hop_changed(key: bytes | None) -> None:
    """Key, headers, topic, partition and offset of a re-keyed dead letter are those of the raw record."""
    record = event(raw(id=ELSEWHERE[0], at="never"), key=key, headers=FORGED, offset=7)
    (sent,) = Clean(pipeline(), 0, 4, TOPICS).process([record], NOW).sends["rekeyed", 2]
    (letter,) = dead(Clean(pipeline(), 2, 4, TOPICS).process([hop(sent, 2)], NOW), 2)
    assert (letter.key, letter.value, letter.headers[: len(FORGED)]) == (key, record.value, FORGED)
    told = dict(letter.headers[len(FORGED) :])
    assert told["__streams.errors.topic"] == b"p.events.raw"
    assert (told["__streams.errors.partition"], told["__streams.errors.offset"]) == (b"0", b"7")


def test_a_producers_headers_of_our_names_are_not_believed() -> None:
    """A raw event that claims to be a re-keyed label is an event, and is placed by its id."""
    out = Clean(pipeline(), 0, 4, TOPICS).process([event(raw(), headers=FORGED[:2])], NOW)
    assert len(cleaned(out)) == 1


@pytest.mark.parametrize("headers", [[], FORGED, [("rivermill.rekeyed_from", b"p.events.raw")],
                                     [("rivermill.rekeyed_from", b"p.events.raw/x/1")]])  # fmt: skip
def test_what_cleaning_did_not_put_on_rekeyed_is_a_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    """Without a whole origin a record on the rekeyed topic is not guessed at."""
    out = Clean(pipeline(), 0, 4, TOPICS).process([Rec(TOPICS.rekeyed, 0, 3, NOW, b"k", b"{}", headers)], NOW)
    assert rules(dead(out)) == ["rekeyed_invalid"]


def test_a_lane_beyond_the_partitions_only_rekeys() -> None:
    """It never cleans, and its dead letters lie in partition lane mod N."""
    core = Clean(pipeline(), 5, 4, TOPICS)
    out = core.process([event(raw(n, id=f"any {n}")) for n in range(50)] + [event(b"{")], NOW)
    assert {stream for stream, _ in out.sends} == {"rekeyed", "deadletter"}
    assert rules(dead(out, 1)) == ["json_invalid"]
    assert core.totals["rekeyed_events"] == 50


def test_headers_too_large_to_carry_are_said() -> None:
    """Key and headers beyond 32 KiB would not fit the topics they go through."""
    out = Clean(pipeline(), 0, 4, TOPICS).process([event(raw(), headers=[("x", b"x" * 40_000)])], NOW)
    assert rules(dead(out)) == ["too_large"]


@pytest.mark.parametrize("restart_at", range(11))
def test_an_id_passes_once_among_the_last_so_many(restart_at: int) -> None:
    """The bound on remembered ids is exact wherever a restart falls, and a dead letter's id is not remembered."""
    order = [0, 0, 1, 2, 0, 3, 0, 1]
    records = [event(raw(9, at="never")), *(event(raw(n)) for n in order), event(raw(9))]
    spec = pipeline(event="dedupe_ids = 3")
    before, after = Clean(spec, 0, 4, TOPICS), Clean(spec, 0, 4, TOPICS)
    out = before.process(records[:restart_at], NOW)
    keys = [sent.key or b"" for sent in out.sends.get(("events.clean", 0), ())]
    after.restore(before.standing().data, before.totals, keys)
    passed = [*cleaned(out), *cleaned(after.process(records[restart_at:], NOW))]
    assert [e.event_id for e in passed] == [HERE[n] for n in (0, 1, 2, 3, 0, 1, 9)]
    assert after.totals["duplicates"] == 2


def test_a_dead_letter_that_nobody_foresaw_says_where_it_failed() -> None:
    """Class and place of what was raised are for whoever is to mend it; a refusal by rule has none."""
    core = Clean(pipeline(), 0, 4, TOPICS)
    del core._clock
    unforeseen, refused = dead(core.process([event(raw()), event(b"{")], NOW))
    told = dict(unforeseen.headers)
    assert (told["rivermill.rule"], told["__streams.errors.exception"]) == (b"unexpected", b"AttributeError")
    assert b"in _event\n    self._clock.check_event(" in (told["__streams.errors.stacktrace"] or b"")
    assert dict(refused.headers)["__streams.errors.exception"] == b"json_invalid"
    assert "__streams.errors.stacktrace" not in dict(refused.headers)
