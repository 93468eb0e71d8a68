from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.events import Change
from services.cleaning.core import Clean
from services.cleaning.core.rules import REJECTIONS
from services.domain.records import MAX_VALUE_BYTES
from tests.unit.cleaning.pipelines import (
    HERE,
    NOON,
    NOW,
    TOPICS,
    dead,
    event,
    label,
    one,
    one_label,
    pipeline,
    raw,
    rules,
)

GOOD = json.dumps(raw()).encode()
DEEP = b'{"id":"x","at":"2025-01-01T12:00:00Z","distance":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


def with_field(text: bytes) -> bytes:
    """A good event whose fields end with this piece of JSON."""
    return GOOD[:-1] + b"," + text + b"}"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (None, "null_value"),
        (b"", "empty_value"),
        (b" ", "json_invalid"),
        (b"[]", "not_an_object"),
        (b"3", "not_an_object"),
        (b"null", "not_an_object"),
        (GOOD[:-5], "json_invalid"),
        (GOOD + b"x", "json_invalid"),
        (GOOD + GOOD, "json_invalid"),
        (GOOD.decode().encode("utf-16"), "bad_utf8"),
        (GOOD.replace(b"JFK", b"J\xffK"), "bad_utf8"),
        (with_field(b'"nobody":"\xff"'), "bad_utf8"),
        (b'{"id":"' + b"x" * 10_000_000 + b'"}', "too_large"),
        (DEEP, "too_deep"),
        (b"[" * 10_000, "too_deep"),
        (b"{}", "id_missing"),
        (raw(id=None), "id_missing"),
        (raw(id=""), "id_invalid"),
        (raw(id=1.5), "id_invalid"),
        (raw(id=True), "id_invalid"),
        (raw(id={}), "id_invalid"),
        (raw(id="x" * 257), "id_invalid"),
        (raw(id="é" * 129), "id_invalid"),
        (raw(id="\ud800"), "id_invalid"),
        (GOOD.replace(b'"' + HERE[0].encode() + b'"', b"9" * 5000), "id_invalid"),
        (raw(at=None), "time_missing"),
        (raw(at=" "), "time_missing"),
        (raw(at="yesterday"), "time_invalid"),
        (raw(at="\ud800"), "time_invalid"),
        (raw(at=1735732800), "time_invalid"),
        (raw(at="1970-01-01T00:00:00Z"), "time_invalid"),
        (raw(at="0001-01-01T00:00:00+05:00"), "time_invalid"),
        (raw(at="9999-12-31T23:59:59-05:00"), "time_invalid"),
        (raw(at="2026-01-01T12:00:00Z"), "time_ahead"),
    ],
)
def test_an_event_that_cannot_be_used_is_a_dead_letter_with_its_rule(value: Any, rule: str) -> None:
    """Each kind of unusable event ends in the dead letters under the rule that names what is wrong."""
    assert one(value) == (None, rule)
    assert rule in REJECTIONS


@pytest.mark.parametrize(
    ("text", "field", "rule", "after"),
    [
        (b'"distance":1e999', "distance", "infinite", None),
        (b'"distance":-Infinity', "distance", "infinite", None),
        (b'"distance":NaN', "distance", "not_a_number", None),
        (b'"distance":' + b"7" * 5000, "distance", "infinite", None),
        (b'"distance":' + b"7" * 309, "distance", "infinite", None),
        (b'"vip":0.5', "vip", "boolean_invalid", None),
        (b'"vip":1.0', "vip", "boolean_number", True),
        (b'"remark":"\\ud800"', "remark", "surrogate", "\ufffd"),
        (b'"remark":{"a":{"a":1}}', "remark", "category_invalid", None),
        (b'"distance":[1]', "distance", "number_invalid", None),
    ],
)
def test_a_field_that_cannot_be_used_is_repaired_on_the_record(text: bytes, field: str, rule: str, after: Any) -> None:
    """A bad field does not cost the event: its repair stands in the changes, and what is left is of the right type."""
    clean, _ = one(with_field(text))  # the field is there twice, the last one counts
    assert clean is not None
    noted = [(change.field, change.rule, change.after) for change in clean.changes]
    assert (field, rule, after) in noted
    assert (field, "duplicate_key") in [(name, which) for name, which, _ in noted]


def test_a_byte_order_mark_is_dropped_and_said() -> None:
    """A BOM before a good event changes nothing but the list of changes."""
    clean, _ = one(b"\xef\xbb\xbf" + GOOD)
    plain, _ = one(GOOD)
    assert clean is not None
    assert plain is not None
    assert clean.changes == [Change("", "bom", None, None)]
    assert clean.features == plain.features


@pytest.mark.parametrize("again", [b'"gates":4', b'"gates" :4', b'"gates"\n\t: 4', b'"g\\u0061tes":4'])
def test_of_a_field_that_is_there_twice_the_last_counts_and_both_are_told(again: bytes) -> None:
    """Equal keys are noticed however they are written, even where every type is right."""
    clean, _ = one(with_field(again))
    assert clean is not None
    assert clean.features["gates"] == 4.0
    assert clean.changes == [Change("gates", "duplicate_key", 3.0, 4.0)]


@pytest.mark.parametrize(
    "text", [b'"zone":"\\ud800"', b'"zone":' + b"7" * 5000, b'"zone":NaN', b'"zone":{"id":1}', b'"zone":1,"zone":2']
)
def test_what_the_pipeline_does_not_name_is_dropped_whatever_it_is(text: bytes) -> None:
    """Unknown fields leave no trace on the record."""
    clean, _ = one(with_field(text))
    plain, _ = one(GOOD)
    assert clean == plain


def test_unknown_fields_are_counted_and_their_number_is_bounded() -> None:
    """The checkpoint names at most 32 unknown fields, and counts the others together."""
    core = Clean(pipeline(), 0, 4, TOPICS)
    core.process([event(raw(n, **{f"x{n}-{m}\ud800": 1 for m in range(20)})) for n in range(3)], NOW)
    assert len(core.unknown_fields) == 33
    assert sum(core.unknown_fields.values()) == 60
    assert json.loads(core.standing().data)["unknown"] == core.unknown_fields


@pytest.mark.parametrize(
    ("task", "value", "expected"),
    [
        ("binary", True, True),
        ("binary", "No ", False),
        ("binary", 1, True),
        ("binary", 0.0, False),
        ("binary", 0.37, "label_invalid"),
        ("binary", 17, "label_invalid"),
        ("binary", "late", "label_invalid"),
        ("binary", None, "label_missing"),
        ("regression", 12, 12.0),
        ("regression", " 12.5", 12.5),
        ("regression", True, "label_invalid"),
        ("regression", float("nan"), "label_invalid"),
        ("regression", float("inf"), "label_invalid"),
        ("regression", "yes", "label_invalid"),
        ("regression", [1], "label_invalid"),
    ],
)
def test_a_label_fits_its_task_or_is_a_dead_letter(task: str, value: Any, expected: Any) -> None:
    """Binary labels are booleans in any spelling, regression labels finite numbers, all else is rejected."""
    found = one_label({"id": HERE[0], "late": value, "known_at": NOON}, task)
    assert (found if isinstance(found, str) else found["label"]) == expected


def test_a_label_goes_through_the_same_checks_as_an_event() -> None:
    """Bytes, ids and times of labels are judged by the same rules."""
    assert one_label(None) == "null_value"
    assert one_label(b"{") == "json_invalid"
    assert one_label({"late": True, "known_at": NOON}) == "id_missing"
    assert one_label({"id": HERE[0], "late": True}) == "time_missing"
    assert one_label({"id": HERE[0], "late": True, "known_at": "2026-01-01T12:00:00Z"}) == "time_ahead"
    assert one_label({"id": HERE[0], "late": True, "known_at": "1970-01-01T00:00:00Z"}) == "time_invalid"


def test_an_event_too_large_once_cleaned_is_a_dead_letter() -> None:
    """An event whose clean form, changes included, would not fit its topic does not reach the producer."""
    features = "".join(f'[features.c{n}]\ntype = "category"\ncase = "upper"\n' for n in range(200))
    text = json.dumps({"id": HERE[0], "at": NOON} | {f"c{n}": " a\ud800" + "\U0001f6eb" * 250 for n in range(200)})
    assert len(text) <= MAX_VALUE_BYTES
    assert one(text.encode(), features) == (None, "output_too_large")


def test_dead_letters_of_events_and_labels_are_counted_apart() -> None:
    """Totals tell rule and kind."""
    core = Clean(pipeline(), 0, 4, TOPICS)
    out = core.process([event(b"{"), label(b"{"), label(b"")], NOW)
    assert rules(dead(out)) == ["json_invalid", "json_invalid", "empty_value"]
    assert core.totals["deadletter.events.json_invalid"] == 1
    assert core.totals["deadletter.labels.json_invalid"] == 1
    assert core.totals["deadletter.labels.empty_value"] == 1
