from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cleaning.core import Clean
from services.cleaning.core.repair import repair_of
from services.cleaning.core.rules import REPAIRS
from services.domain.plan import OTHER, SEPARATOR, key_of
from services.domain.spec import Feature
from tests.unit.cleaning.pipelines import HERE, NOON, NOW, TOPICS, cleaned, event, one, pipeline, raw


def repaired(field: str, value: Any, features: str) -> tuple[Any, list[str]]:
    """The clean value of one field, and the rules that made it."""
    clean, rule = one({"id": HERE[0], "at": NOON, field: value}, features)
    if clean is None:
        return None, [rule]
    rules = [change.rule for change in clean.changes if change.field == field]
    assert set(rules) <= REPAIRS.keys()
    return clean.features[field], rules


@pytest.mark.parametrize(
    ("value", "after", "rules"),
    [
        (12, 12.0, []),
        ("12.5", 12.5, ["number_text"]),
        (" -1e3 ", -1000.0, ["number_text"]),
        ("1,234,567", 1234567.0, ["thousands"]),
        ("1,234.5", 1234.5, ["thousands"]),
        ("1,234", None, ["number_invalid"]),
        ("12 km", None, ["number_invalid"]),
        ("٣", None, ["number_invalid"]),
        ("1e999", None, ["infinite"]),
        ("-inf", None, ["infinite"]),
        (1e101, None, ["infinite"]),
        ("NaN", None, ["not_a_number"]),
        (float("nan"), None, ["not_a_number"]),
        ("", None, ["missing_text"]),
        ("NA", None, ["missing_text"]),
        (True, None, ["number_invalid"]),
        ({}, None, ["number_invalid"]),
        (None, None, []),
    ],
)
def test_numbers(value: Any, after: float | None, rules: list[str]) -> None:
    """Text that can be only one number is that number, all else is missing, and the rule says why."""
    assert repaired("x", value, '[features.x]\ntype = "number"') == (after, rules)


@pytest.mark.parametrize(
    ("value", "after", "rules"),
    [
        (True, True, []),
        *((text, True, ["boolean_text"]) for text in ("yes", "Y", "TRUE", " t", "On", "1")),
        *((text, False, ["boolean_text"]) for text in ("no", "N", "false", "F ", "off", "0")),
        (1, True, ["boolean_number"]),
        (0.0, False, ["boolean_number"]),
        (0.5, None, ["boolean_invalid"]),
        (2, None, ["boolean_invalid"]),
        (float("nan"), None, ["not_a_number"]),
        ("maybe", None, ["boolean_invalid"]),
        ("n/a", None, ["missing_text"]),
        ([], None, ["boolean_invalid"]),
    ],
)
def test_booleans(value: Any, after: bool | None, rules: list[str]) -> None:
    """Yes and no in all their spellings are one value each; another number is no boolean."""
    assert repaired("x", value, '[features.x]\ntype = "boolean"') == (after, rules)


@pytest.mark.parametrize(
    ("value", "after", "rules"),
    [
        ("UA", "UA", []),
        (" u  a ", "U A", ["spaces", "case"]),
        ("United", "UA", ["case", "synonym"]),
        ("twice", "UA", ["case", "synonym"]),
        ("ring", "RING", ["case"]),
        (1545, "1545", ["number_to_text"]),
        (3.0, "3", ["number_to_text"]),
        (2.5, "2.5", ["number_to_text"]),
        (False, "FALSE", ["boolean_to_text", "case"]),
        ("NA", "NA", []),
        ("  ", None, ["spaces", "missing_text"]),
        ("a\x1eb\x1fc", "A B C", ["spaces", "case"]),
        ("Split", "U A", ["case", "synonym"]),
        ("X" * 300, "X" * 256, ["too_long"]),
        ("\ud800A", "\ufffdA", ["surrogate"]),
        ([1], None, ["category_invalid"]),
        (float("inf"), None, ["infinite"]),
    ],
)
def test_categories(value: Any, after: str | None, rules: list[str]) -> None:
    """A category is text in the file's case, synonyms followed to their end, circles of them ignored."""
    synonyms = r'{ United = "UA", Twice = "United", Ring = "Round", Round = "Ring", Split = "u\u001fa " }'
    assert repaired("x", value, f'[features.x]\ntype = "category"\ncase = "upper"\nsynonyms = {synonyms}') == (
        after,
        rules,
    )


TEXTS = st.sampled_from(["split", OTHER, OTHER[1:], "__other__"]) | st.text("ab_\t\x1c\x1d\x1e\x1f", max_size=4)
PAIRS = st.tuples(TEXTS, TEXTS)


@settings(max_examples=300)
@given(PAIRS, PAIRS)
def test_texts_make_no_key_but_their_own(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Whatever a producer sends, two events have one key only if their clean values are equal, and none has OTHER."""
    repair = repair_of("x", Feature(type="category", synonyms={"split": f"a{SEPARATOR}b", "a b": OTHER}))
    for by in (("x",), ("x", "y"), ("x", "y", "flag")):
        key = key_of(by, ("x", "y"))
        cleaned = [
            {"flag": True} | {name: repair(text, []) for name, text in zip("xy", texts, strict=True)}
            for texts in (one, other)
        ]
        keys = [key(features) for features in cleaned]
        assert (keys[0] == keys[1]) is all(cleaned[0][name] == cleaned[1][name] for name in by)
        assert OTHER not in keys


@pytest.mark.parametrize(
    ("outside", "value", "after", "rules"),
    [
        ("clip", 120, 100.0, ["range_clip"]),
        ("clip", -3, 0.0, ["range_clip"]),
        ("missing", 100.5, None, ["range_missing"]),
        ("keep", 120, 120.0, []),
        ("reject", 120, None, ["range"]),
        ("reject", "NaN", None, ["not_a_number"]),
        ("clip", "120", 100.0, ["number_text", "range_clip"]),
        ("missing", 100, 100.0, []),
    ],
)
def test_ranges(outside: str, value: Any, after: float | None, rules: list[str]) -> None:
    """What lies outside a range goes the way the pipeline file says; its ends are inside."""
    assert repaired("x", value, f'[features.x]\ntype = "number"\nrange = [0, 100]\noutside = "{outside}"') == (
        after,
        rules,
    )


@pytest.mark.parametrize(("value", "after", "rules"), [(10, 16.0, []), ("10", 16.0, ["number_text"]), (90, None, ["range_missing"])])  # fmt: skip
def test_units(value: Any, after: float | None, rules: list[str]) -> None:
    """The unit is multiplied in before the range is held against the number, and is no change of its own."""
    assert repaired("x", value, '[features.x]\ntype = "number"\nunit = 1.6\nrange = [0, 100]') == (after, rules)


@pytest.mark.parametrize(
    ("kind", "missing", "after", "rules"),
    [
        ("number", '"keep"', None, []),
        ("number", "4.5", 4.5, ["imputed_constant"]),
        ("number", '"reject"', None, ["missing"]),
        ("number", '"mean"', None, []),
        ("boolean", "true", True, ["imputed_constant"]),
        ("boolean", '"last"', None, []),
        ("category", '"none"', "none", ["imputed_constant"]),
    ],
)
def test_what_stands_in_for_a_missing_value(kind: str, missing: str, after: Any, rules: list[str]) -> None:
    """Constants stand in at once, statistics once there are values; reject makes a dead letter."""
    features = f'[features.x]\ntype = "{kind}"\nmissing = {missing}\n[features.y]\ntype = "number"\nmissing = 1.0'
    clean, rule = one({"id": HERE[0], "at": NOON, "y": 2}, features)
    if clean is None:
        assert [rule] == rules
    else:
        assert (clean.features["x"], [change.rule for change in clean.changes]) == (after, rules)


def test_an_alias_counts_where_the_name_itself_is_missing() -> None:
    """A field's own name goes before its aliases, these in their order; a name given in the file is no change."""
    for fields, expected in (
        ({"dist": 3, "miles": 4}, 3.0),
        ({"miles": 4}, 4.0),
        ({"distance": 2, "dist": 3}, 2.0),
        ({"distance": None, "miles": 4}, 4.0),
    ):
        record = raw() | {"distance": None} | fields
        if "distance" not in fields:
            del record["distance"]
        clean, _ = one(record)
        assert clean is not None
        assert (clean.features["distance"], clean.changes) == (expected, [])


def test_derived_fields_are_local_time() -> None:
    """Hour, weekday and month are those of the pipeline's time zone, whatever the event itself says of them."""
    features = "".join(f'[features.{n}]\ntype = "category"\nderive = "{n}"\n' for n in ("hour", "weekday", "month"))
    zone = 'timezone = "America/New_York"'
    clean, _ = one({"id": HERE[0], "at": "2025-01-01T03:30:00Z", "hour": "99"}, features, event=zone)
    assert clean is not None
    assert clean.features == {"hour": "22", "weekday": "tue", "month": "12"}
    assert clean.changes == []


def test_repairs_are_counted_by_field_and_rule_and_told_once() -> None:
    """What was changed on the records since the last time is what is told, for the record itself under no field."""
    core = Clean(pipeline(), 0, 4, TOPICS)
    bom = b"\xef\xbb\xbf" + json.dumps(raw(0, temp="12.5", distance="7")).encode()
    out = core.process([event(bom, offset=0), event(raw(1, temp="13"), offset=1)], NOW)
    counted = Counter((change.field, change.rule) for clean in cleaned(out) for change in clean.changes)
    assert counted["temp", "number_text"] == 2
    assert counted["", "bom"] == 1
    assert core.take_repairs() == counted
    assert core.take_repairs() == {}


def test_an_integer_id_is_its_decimal_text_and_nothing_is_trimmed() -> None:
    """Ids of integers and of text are the same id; spaces belong to it."""
    features = '[features.x]\ntype = "number"'
    for value, expected in ((7, "7"), (10**40, "1" + "0" * 40), (" 7 ", " 7 ")):
        out = _anywhere(value, features)
        assert out == expected.encode()


def _anywhere(value: Any, features: str) -> bytes | None:
    out = Clean(pipeline(features), 9, 4, TOPICS).process([event({"id": value, "at": NOON})], NOW)
    (sent,) = (record for (stream, _), records in out.sends.items() for record in records if stream == "rekeyed")
    return sent.key
