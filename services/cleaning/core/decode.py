"""From bytes to one row of raw values: a strict typed decode first, a lenient one for what fails it.

The strict decode is a msgspec Struct made from the pipeline file. What it passes is UTF-8, an object with each key
once, every field of its type or missing, every number in its range. All else is parsed field by field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from schemas.events import Change
from services.cleaning.core.rules import Rejected, change, without_surrogates
from services.domain.records import MAX_VALUE_BYTES, json_bytes
from services.domain.spec_features import ESCAPED

_INTEGER_MAX_DIGITS = 310
_UNKNOWN_MAX = 32
_UNKNOWN_NAME_MAX = 64
OTHERS = "__other__"
_OFTEN = 16
"""Unknown fields that came so often are expected."""
_REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)


class Reader:
    """Reads rows of the given fields, in their order, the id first; ``types`` are what the strict decode demands.

    ``aliases`` maps other names of a field to it. Fields that nobody asked for by name are counted and dropped. Those that
    come ``often`` are decoded beside the others, as bytes: then a record that holds them needs no second look.
    """

    def __init__(self, types: Mapping[str, Any], aliases: Mapping[str, str]) -> None:
        self._types = dict(types)
        self._named = frozenset(types)
        self._width = len(types)
        self._aliases = dict(aliases)
        self._other_names = {name: [a for a, of in aliases.items() if of == name] for name in types}
        self._keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self.restore({})

    def restore(self, unknown: Mapping[str, int]) -> None:
        """Go on with these counts of unknown fields."""
        self._unknown, self._whole = dict(unknown), 0
        self._expect(())

    @property
    def unknown(self) -> dict[str, int]:
        """How often unknown fields came: the first 32 names, all others together."""
        for name in self.often:
            self._unknown[name] += self._whole
        self._whole = 0
        return self._unknown

    def strict(self, value: bytes) -> Sequence[Any] | None:
        """The row when nothing is wrong with it, else None."""
        try:
            value.decode()
            record = self._strict(value)
            row = self._complete(record)
            # a comma stands between every two fields: so many, and there are no more fields than these, and none twice
            if row is None or value.count(b",") != self._commas:
                return self._incomplete(value, msgspec.structs.astuple(record))
        except _REFUSED:
            return None
        self._whole += 1
        return row

    def lenient(self, value: bytes | None, changes: list[Change]) -> list[Any]:
        """The row of a record that the strict decode refused, repairs noted in ``changes``; Rejected if there is none.

        A field under its own name goes before its aliases, these in their order.
        """
        keyed = _parse(value, changes, self._named | self._aliases.keys())
        row = []
        for name in self._types:
            found = keyed.get(name)
            for alias in self._other_names[name]:
                found = keyed.get(alias) if found is None else found
            row.append(found)
        self._drop(keyed.keys() - self._named - self._aliases.keys())
        return row

    def _expect(self, often: Sequence[str]) -> None:
        """From now on decode these unknown fields too."""
        self.often = tuple(often)
        kinds = self._types | dict.fromkeys(often, msgspec.Raw)
        fields = [
            (f"f{i}", kind | UnsetType if name in often else kind | None | UnsetType,
             msgspec.field(name=name, default=UNSET))
            for i, (name, kind) in enumerate(kinds.items())
        ]  # fmt: skip
        self._strict = msgspec.json.Decoder(msgspec.defstruct("Row", fields, gc=False)).decode
        self._complete = _complete(self._width, len(fields))
        self._commas = len(fields) - 1

    def _incomplete(self, value: bytes, row: tuple[Any, ...]) -> Sequence[Any] | None:
        """The row when nothing but what is expected is there, and each once; else see :meth:`_by_keys`."""
        if value.count(b",") != len(row) - row.count(UNSET) - 1 and not _each_once(value, row):
            return self._by_keys(value, row)
        for name, raw in zip(self.often, row[self._width :], strict=True):
            if raw is not UNSET:
                self._unknown[name] += 1
        return _filled(row[: self._width])

    def _by_keys(self, value: bytes, row: tuple[Any, ...]) -> Sequence[Any] | None:
        """The same for a record that may hold a key twice, an alias, or an unknown field that is not expected."""
        keys = self._keys(value)
        if value.count(b'"') != 2 * len(keys) + sum(bytes(raw).count(b'"') for raw in keys.values()):
            return None  # a key twice, or one written with escapes
        unknown = keys.keys() - self._named
        if unknown:
            if not self._aliases.keys().isdisjoint(keys):
                return None
            self._drop(unknown)
            self._watch(unknown)
        return _filled(row[: self._width])

    def _watch(self, unknown: Iterable[str]) -> None:
        counts = self.unknown
        often = [name for name in sorted(unknown) if counts.get(name, 0) >= _OFTEN and not ESCAPED.search(name)]
        more = [name for name in often if name not in self.often]
        if more and len(self.often) < _UNKNOWN_MAX:
            self._expect((*self.often, *more)[:_UNKNOWN_MAX])

    def _drop(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            known = _cut(without_surrogates(name)[:_UNKNOWN_NAME_MAX])
            if known not in self._unknown and len(self._unknown) >= _UNKNOWN_MAX:
                known = OTHERS
            self._unknown[known] = self._unknown.get(known, 0) + 1


@lru_cache(maxsize=64)
def _complete(width: int, fields: int) -> Callable[[msgspec.Struct], Sequence[Any] | None]:
    """From a record of so many fields to the first ``width`` of them; None when any field is absent."""
    absent = " or ".join(f"record.f{i} is UNSET" for i in range(fields))
    source = f"""
def complete(record):
    if {absent}:
        return None
    return astuple(record){"" if width == fields else f"[:{width}]"}"""
    scope: dict[str, Any] = {"UNSET": UNSET, "astuple": msgspec.structs.astuple}
    exec(compile(source, f"<{__name__}>", "exec"), scope)  # noqa: S102 - the text holds numbers only
    complete: Callable[[msgspec.Struct], Sequence[Any] | None] = scope["complete"]
    return complete


def _each_once(value: bytes, row: Sequence[Any]) -> bool:
    """Whether the record's quotation marks are those of the fields in the row, each there once, and no more."""
    quotes = 0
    for field in row:
        if field is not UNSET:
            quotes += 2
            if field.__class__ is msgspec.Raw:
                quotes += bytes(field).count(b'"')
            elif field.__class__ in (str, datetime):
                quotes += 2
    return value.count(b'"') == quotes


def _filled(row: Sequence[Any]) -> Sequence[Any]:
    return [None if field is UNSET else field for field in row]


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
