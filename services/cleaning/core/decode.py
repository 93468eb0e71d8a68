"""From bytes to one row of raw values: a strict typed decode first, a lenient one for what fails it.

The strict decode is a msgspec Struct made from the pipeline file. What it passes is UTF-8, an object with each key
once, every field of its type or missing, every number in its range. All else is parsed field by field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from schemas.events import Change
from services.cleaning.core.rules import Rejected, change, without_surrogates
from services.domain.records import MAX_VALUE_BYTES, json_bytes

_INTEGER_MAX_DIGITS = 310
_UNKNOWN_MAX = 32
_UNKNOWN_NAME_MAX = 64
OTHERS = "__other__"
_REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)


class Reader:
    """Reads rows of the given fields, in their order, the id first; ``types`` are what the strict decode demands.

    ``aliases`` maps other names of a field to it. ``unknown`` counts the fields that nobody asked for by name
    (the first 32 names, all others together): they are dropped.
    """

    def __init__(self, types: Mapping[str, Any], aliases: Mapping[str, str]) -> None:
        self.unknown: dict[str, int] = {}
        self._names = tuple(types)
        self._named = frozenset(types)
        self._aliases = dict(aliases)
        self._other_names = {name: [a for a, of in aliases.items() if of == name] for name in types}
        fields = [
            (f"f{i}", kind | None, msgspec.field(name=name, default=None))
            for i, (name, kind) in enumerate(types.items())
        ]
        self._strict = msgspec.json.Decoder(msgspec.defstruct("Row", fields)).decode
        self._keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        texts = sum(kind in (str, datetime) for kind in tuple(types.values())[1:])
        self._quotes = 2 * len(types) + 2 * texts
        """Quotation marks of a record with every field once, but for those of the id if it is a text."""

    def strict(self, value: bytes) -> tuple[Any, ...] | None:
        """The row when nothing is wrong with it, else None."""
        try:
            value.decode()
            row: tuple[Any, ...] = msgspec.structs.astuple(self._strict(value))
            quotes = value.count(b'"')
            if None not in row and quotes == self._quotes + 2 * (row[0].__class__ is str):
                return row  # every field once, and nothing else
            keys = self._keys(value)
        except _REFUSED:
            return None
        if quotes != 2 * len(keys) + sum(bytes(raw).count(b'"') for raw in keys.values()):
            return None  # a key twice, or one written with escapes
        if keys.keys() <= self._named:
            return row
        if self._aliases and not self._aliases.keys().isdisjoint(keys):
            return None
        self._drop(keys.keys() - self._named)
        return row

    def lenient(self, value: bytes | None, changes: list[Change]) -> list[Any]:
        """The row of a record that the strict decode refused, repairs noted in ``changes``; Rejected if there is none.

        A field under its own name goes before its aliases, these in their order.
        """
        keyed = _parse(value, changes, self._named | self._aliases.keys())
        row = []
        for name in self._names:
            found = keyed.get(name)
            for alias in self._other_names[name]:
                found = keyed.get(alias) if found is None else found
            row.append(found)
        self._drop(keyed.keys() - self._named - self._aliases.keys())
        return row

    def _drop(self, names: set[str]) -> None:
        for name in sorted(names):
            known = _cut(without_surrogates(name)[:_UNKNOWN_NAME_MAX])
            if known not in self.unknown and len(self.unknown) >= _UNKNOWN_MAX:
                known = OTHERS
            self.unknown[known] = self.unknown.get(known, 0) + 1


def _cut(name: str) -> str:
    while json_bytes(name) > _UNKNOWN_NAME_MAX:
        name = name[:-1]
    return name


def _parse(value: bytes | None, changes: list[Change], named: frozenset[str]) -> dict[str, Any]:
    """The JSON object in ``value``; NaN, infinities, lone surrogates and long integers are let through."""
    text = _text(value)
    if text.startswith("\ufeff"):
        text = text.lstrip("\ufeff")
        changes.append(change("", "bom", None, None))
    last: Sequence[tuple[str, Any]] = ()

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal last
        last = pairs  # objects close from within: the last to close is the outermost
        return dict(pairs)

    try:
        parsed = json.loads(text, parse_int=_integer, object_pairs_hook=keep)
    except RecursionError as error:
        raise Rejected("too_deep", "the JSON is nested too deeply; an event or a label is a flat object") from error
    except ValueError as error:
        raise Rejected("json_invalid", f"not JSON: {without_surrogates(str(error))}") from error
    if not isinstance(parsed, dict):
        raise Rejected("not_an_object", f"expected a JSON object, got {_kind(parsed)}")
    if len(last) != len(parsed):
        _note_duplicates(last, parsed, changes, named)
    return parsed


def _text(value: bytes | None) -> str:
    if value is None:
        raise Rejected("null_value", "the record has no value (a tombstone); an event or a label is a JSON object")
    if not value:
        raise Rejected("empty_value", "the value has no bytes; an event or a label is a JSON object")
    if len(value) > MAX_VALUE_BYTES:
        raise Rejected("too_large", f"the value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Rejected("bad_utf8", f"byte {error.start} is not UTF-8") from error


def _integer(digits: str) -> int | float:
    """Longer integers than any number type holds become infinite, which later rules know what to do with."""
    return int(digits) if len(digits) <= _INTEGER_MAX_DIGITS else float(digits)


def _note_duplicates(
    pairs: Sequence[tuple[str, Any]], parsed: dict[str, Any], changes: list[Change], named: frozenset[str]
) -> None:
    first: dict[str, Any] = {}
    told: set[str] = set()
    for name, raw in pairs:
        if name in first and name in named and name not in told:
            told.add(name)
            after = parsed[name] if isinstance(parsed[name], str | bool | float | int) else None
            changes.append(change(name, "duplicate_key", first[name], change("", "", after, None).before))
        first.setdefault(name, raw)


def _kind(parsed: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(parsed), "a number")
