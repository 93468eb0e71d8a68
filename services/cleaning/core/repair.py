"""The slow path: what one raw field becomes, by named rules, each noted as a change."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from schemas.events import Change, Value
from services.cleaning.core.rules import TEXT_MAX, Rejected, change, plain, shown, without_surrogates
from services.domain.records import NUMBER_MAX
from services.domain.spec import Feature

Repair = Callable[[Any, list[Change]], Value]
"""A raw value to one of the feature's type, or to None where it is missing."""

Read = TypeVar("Read", float | None, bool | None, str | None)

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?\Z", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3}){2,}(\.[0-9]+)?\Z|[+-]?[0-9]{1,3},[0-9]{3}\.[0-9]+\Z", re.ASCII)
_MISSING = frozenset({"", "na", "n/a", "#n/a", "null", "none", "nil", "missing", "unknown", "-", "--", "?"})
_INFINITE = frozenset({"inf", "infinity", "∞"})
_TRUE = frozenset({"yes", "y", "true", "t", "on", "1", "1.0"})
_FALSE = frozenset({"no", "n", "false", "f", "off", "0", "0.0"})


def repair_of(name: str, feature: Feature) -> Repair:
    """The rules of one feature that is read from the event."""
    if feature.type == "number":
        return _number_rules(name, feature)
    if feature.type == "boolean":
        return lambda raw, changes: noted(boolean, name, raw, changes)
    return _category_rules(name, feature)


def noted(read: Callable[[Any], tuple[Read, str]], name: str, raw: Any, changes: list[Change]) -> Read:
    """The value that ``read`` makes of a raw one, its rule noted if there is one."""
    value, rule = read(raw)
    if rule:
        changes.append(change(name, rule, raw, value))
    return value


def number(raw: Any) -> tuple[float | None, str]:
    """A finite float, and the rule that made it ("" if it came so); what is no number is missing (None).

    Text that is a number is one: ``1,234,567`` and ``1,234.5`` too; ``1,234`` may be either of two and is not.
    """
    if isinstance(raw, str):
        return _number_from_text(raw)
    if raw is None:
        return None, ""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None, "number_invalid"
    if -NUMBER_MAX <= raw <= NUMBER_MAX:
        return float(raw), ""
    return None, _not_finite(raw)


def boolean(raw: Any) -> tuple[bool | None, str]:
    """A bool, and the rule that made it ("" if it came so): yes and no in their spellings, 1 and 0; else None."""
    if raw is None or isinstance(raw, bool):
        return raw, ""
    if isinstance(raw, str):
        return _boolean_from_text(raw.strip().lower())
    if isinstance(raw, int | float):
        if raw in (0, 1):
            return bool(raw), "boolean_number"
        if _is_nan(raw):
            return None, "not_a_number"
    return None, "boolean_invalid"


def _number_from_text(raw: str) -> tuple[float | None, str]:
    text = raw.strip().lower()
    if text in _MISSING:
        return None, "missing_text"
    if text == "nan":
        return None, "not_a_number"
    if text.lstrip("+-") in _INFINITE:
        return None, "infinite"
    written_plainly = _NUMBER.match(text) is not None
    if not written_plainly and not _THOUSANDS.match(text):
        return None, "number_invalid"
    value = float(text.replace(",", ""))
    if not -NUMBER_MAX <= value <= NUMBER_MAX:
        return None, "infinite"
    return value, "number_text" if written_plainly else "thousands"


def _boolean_from_text(text: str) -> tuple[bool | None, str]:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE, "boolean_text"
    if text in _MISSING:
        return None, "missing_text"
    return None, "not_a_number" if text == "nan" else "boolean_invalid"


def _not_finite(raw: float) -> str:
    return "not_a_number" if _is_nan(raw) else "infinite"


def _is_nan(raw: float) -> bool:
    return raw != raw  # noqa: PLR0124 - math.isnan overflows on long integers


def _number_rules(name: str, feature: Feature) -> Repair:
    unit = feature.unit
    low, high = feature.range or (-math.inf, math.inf)

    def repair(raw: Any, changes: list[Change]) -> Value:
        value = noted(number, name, raw, changes)
        if value is None:
            return None
        if unit != 1.0:
            value *= unit
            if not -NUMBER_MAX <= value <= NUMBER_MAX:
                changes.append(change(name, "infinite", raw, None))
                return None
        return value if low <= value <= high else _outside(name, feature, value, changes)

    return repair


def _outside(name: str, feature: Feature, value: float, changes: list[Change]) -> float | None:
    low, high = feature.range or (-math.inf, math.inf)
    if feature.outside == "reject":
        raise Rejected("range", f"field {name!r}: {shown(value)} lies outside its range {low:g} to {high:g}")
    if feature.outside == "keep":
        return value
    after = None if feature.outside == "missing" else low if value < low else high
    changes.append(change(name, f"range_{feature.outside}", value, after))
    return after


def _category_rules(name: str, feature: Feature) -> Repair:
    cases: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "keep": str}
    case = cases[feature.case]
    synonyms = _resolved({case(_spaced(key)): case(_spaced(value)) for key, value in feature.synonyms.items()})
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("surrogate", without_surrogates),
        ("spaces", _spaced),
        ("case", case),
        ("synonym", lambda text: synonyms.get(text, text)),
        ("too_long", lambda text: text[:TEXT_MAX].rstrip()),
    )

    def repair(raw: Any, changes: list[Change]) -> Value:
        text = noted(_as_text, name, raw, changes)
        if text is None:
            return None
        for rule, step in steps:
            after = step(text)
            if after != text:
                changes.append(change(name, rule, text, plain(after)))
                text = after
        if not text:
            changes.append(change(name, "missing_text", raw, None))
        return text or None

    return repair


def _spaced(text: str) -> str:
    """One space between words, none around them; the separators of ASCII, which join keys, are spaces too."""
    return " ".join(text.split())


def _as_text(raw: Any) -> tuple[str | None, str]:
    """The text of a category, and the rule that made it ("" if it came so)."""
    if raw is None or isinstance(raw, str):
        return raw, ""
    if isinstance(raw, bool):
        return str(raw).lower(), "boolean_to_text"
    if isinstance(raw, int):
        return str(raw), "number_to_text"
    if not isinstance(raw, float):
        return None, "category_invalid"
    if not math.isfinite(raw):
        return None, _not_finite(raw)
    return str(int(raw)) if raw.is_integer() else repr(raw), "number_to_text"


def _resolved(synonyms: dict[str, str]) -> dict[str, str]:
    """Synonyms of synonyms followed to their end, so that a clean value is never changed again; circles are dropped."""
    resolved = {}
    for key, synonym in synonyms.items():
        seen, value = {key}, synonym
        while value in synonyms and value not in seen:
            seen.add(value)
            value = synonyms[value]
        if value not in seen:
            resolved[key] = value
    return resolved
