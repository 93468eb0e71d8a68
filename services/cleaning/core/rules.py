"""The names of everything cleaning does to a record: repairs (on the record, in ``changes``) and rejections."""

from __future__ import annotations

import math
from typing import Any

from schemas.events import Change, Value

REPAIRS = {
    "bom": "a byte order mark before the JSON was dropped",
    "duplicate_key": "a field was there more than once: the last one counts, as in most JSON readers",
    "spaces": "spaces around a text were dropped, those within made one",
    "case": "upper or lower case as the pipeline file wants it",
    "synonym": "a synonym of the pipeline file",
    "surrogate": "half a UTF-16 surrogate pair became U+FFFD",
    "too_long": "a category was cut to 256 characters",
    "number_text": "a number written as text",
    "thousands": "a number written with thousands separators",
    "number_to_text": "a category written as a number",
    "boolean_to_text": "a category written as a boolean",
    "boolean_text": "a boolean written as text: yes/no, y/n, true/false, t/f, on/off, 1/0",
    "boolean_number": "a boolean written as 1 or 0",
    "missing_text": "a text that means missing: empty, NA, null, -, ...",
    "not_a_number": "NaN counts as missing",
    "infinite": "an infinity, or a number beyond 1e100, counts as missing",
    "number_invalid": "no number: counts as missing",
    "boolean_invalid": "no boolean: counts as missing",
    "category_invalid": "no category (a list or an object): counts as missing",
    "range_clip": "a number outside its range became the nearest bound",
    "range_missing": "a number outside its range counts as missing",
    "outlier_clip": "an outlier became the nearest bound",
    "outlier_missing": "an outlier counts as missing",
    "imputed_mean": "missing: the lane's mean",
    "imputed_median": "missing: the lane's running median",
    "imputed_last": "missing: the lane's last value",
    "imputed_constant": "missing: the pipeline file's constant",
}

REJECTIONS = {
    "null_value": "a record without a value (a tombstone) cannot be an event or a label",
    "empty_value": "a value of no bytes",
    "too_large": "a value or headers too large to be read",
    "headers_invalid": "a header whose name is not UTF-8 (in its dead letter such bytes are escaped)",
    "bad_utf8": "bytes that are not UTF-8",
    "json_invalid": "not JSON (cut off, perhaps)",
    "too_deep": "JSON nested too deeply",
    "not_an_object": "JSON, but no object",
    "id_missing": "no id",
    "id_invalid": "an id that is no string of 1 to 256 bytes and no integer",
    "time_missing": "no time",
    "time_invalid": "a time that cannot be read, of a clock never set, or outside the years 1900 to 2199",
    "time_ahead": "a time further ahead than max_ahead",
    "label_missing": "no label value",
    "label_invalid": "a label value that does not fit the task",
    "range": "a number outside its range, and outside = reject",
    "outlier": "an outlier, and then = reject",
    "missing": "a missing value, and missing = reject",
    "output_too_large": "the cleaned record would be too large for its topic",
    "rekeyed_invalid": "a record on the rekeyed topic that cleaning did not put there",
    "unexpected": "cleaning failed on the record in a way nobody foresaw: please report it",
}

TEXT_MAX = 256
_SHOWN_MAX = 60
_EXACT = 2**53


class Rejected(Exception):  # noqa: N818 - an outcome of a record, not an error of the program
    """A record is a dead letter: ``rule`` is one of :data:`REJECTIONS`, ``message`` says what is wrong with it.

    ``error`` is what was raised where that was ``unexpected``.
    """

    def __init__(self, rule: str, message: str, error: Exception | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.error = error


def change(field: str, rule: str, before: Any, after: Value) -> Change:
    """The note of one repair; ``field`` is empty for the record itself."""
    return Change(field, rule, plain(before), after)


def plain(raw: Any) -> Value:
    """A raw value as it can stand in a record: text of at most 256 characters, finite numbers."""
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        return without_surrogates(raw[:TEXT_MAX])
    if isinstance(raw, float):
        return raw if math.isfinite(raw) else str(raw)
    if isinstance(raw, int):
        return float(raw) if -_EXACT <= raw <= _EXACT else str(raw)[:TEXT_MAX]
    return "an object" if isinstance(raw, dict) else "a list" if isinstance(raw, list) else str(raw)[:TEXT_MAX]


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def shown(raw: Any) -> str:
    """A raw value for a message, short."""
    value = plain(raw)
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
