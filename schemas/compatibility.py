"""What breaks a reader: a released contract beside today's.

Readers are msgspec Structs, ours and others' alike: they ignore unknown fields, fill in defaults, and refuse a missing
field, another type, and a word or tag that they do not know. So a field with a default may be added, in any object,
and nothing else may change: whatever is widened breaks yesterday's readers of today's records, whatever is narrowed
breaks today's readers of yesterday's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Schema = Mapping[str, Any]
_PROSE = {"$schema", "$defs", "title", "description", "examples", "discriminator"}
"""Keywords that no reader acts on (a union's tags are words of the tag field too)."""
_APART = {"properties", "required", "enum", "$ref"}
_INNER = {"items", "additionalProperties"}


def differences(released: Schema, today: Schema) -> list[str]:
    """Every change from a released JSON Schema to today's that breaks a reader, each with the place it is at."""
    return list(_Pair(released, today).at(released, today, ""))


def unreadable(kind: Any, example: Any) -> str:
    """Why a released example is not read as it was by today's contract; empty if it is."""
    try:
        record = msgspec.json.decode(json.dumps(example).encode(), type=kind)
    except msgspec.ValidationError as error:
        return f"cannot be read any more: {error}"
    again = json.loads(msgspec.json.encode(record))
    return "" if holds(again, example) else "is read, but does not say the same any more"


def holds(value: Any, part: Any) -> bool:
    """Whether a JSON value is the other one, but for fields that have been added to its objects since."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(key in value and holds(value[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(value, list) and len(value) == len(part) and all(map(holds, value, part))
    return type(value) is type(part) and bool(value == part)


class _Pair:
    """Two schemas, walked together."""

    def __init__(self, released: Schema, today: Schema) -> None:
        self._definitions = (released.get("$defs", {}), today.get("$defs", {}))

    def at(self, released: Schema, today: Schema, where: str) -> Iterator[str]:
        """The differences at and below one place."""
        before, after = self._resolved(released, 0), self._resolved(today, 1)
        if "anyOf" in before or "anyOf" in after:
            yield from _changed("default", before, after, where)
            yield from self._options(before, after, where)
            return
        for keyword in sorted((before.keys() | after.keys()) - _PROSE - _APART):
            then, now = before.get(keyword), after.get(keyword)
            if keyword in _INNER and isinstance(then, dict) and isinstance(now, dict):
                yield from self.at(then, now, f"{where}[]")
            else:
                yield from _changed(keyword, before, after, where)
        yield from self._fields(before, after, where)
        yield from _words(before, after, where)

    def _resolved(self, node: Schema, side: int) -> Schema:
        """A reference's definition, with what stands beside the reference (a default)."""
        if "$ref" not in node:
            return node
        return {**self._definitions[side][node["$ref"].rpartition("/")[2]], **node}

    def _fields(self, before: Schema, after: Schema, where: str) -> Iterator[str]:
        then, now = before.get("properties", {}), after.get("properties", {})
        needed, needs = set(before.get("required", ())), set(after.get("required", ()))
        for field in then.keys() - now.keys():
            yield f"{where}.{field}: is gone"
        for field in needs - then.keys():
            yield f"{where}.{field}: is new and has no default"
        for field in then.keys() & now.keys():
            if (field in needed) != (field in needs):
                yield f"{where}.{field}: {'is no longer' if field in needed else 'has become'} required"
            yield from self.at(then[field], now[field], f"{where}.{field}")

    def _options(self, before: Schema, after: Schema, where: str) -> Iterator[str]:
        """A union takes the same kinds, in any order."""
        then, now = _kinds(before), _kinds(after)
        gone = [option for option in then if all(any(self.at(option, other, "")) for other in now)]
        new = [option for option in now if all(any(self.at(other, option, "")) for other in then)]
        if len(gone) == len(new) == 1 and "$ref" in gone[0] and "$ref" in new[0]:
            yield from self.at(gone[0], new[0], where)
            return
        yield from (f"{where}: no longer takes {_called(option)}" for option in gone)
        yield from (f"{where}: newly takes {_called(option)}" for option in new)


def _kinds(node: Schema) -> list[Schema]:
    """The kinds that a union takes; a node that is none is the only one itself."""
    return list(node.get("anyOf", [{keyword: node[keyword] for keyword in node.keys() - {"default"}}]))


def _changed(keyword: str, before: Schema, after: Schema, where: str) -> Iterator[str]:
    if (keyword in before, before.get(keyword)) != (keyword in after, after.get(keyword)):
        then, now = (json.dumps(node[keyword]) if keyword in node else "none" for node in (before, after))
        yield f"{where}: {keyword} was {then}, is {now}"


def _words(before: Schema, after: Schema, where: str) -> Iterator[str]:
    then, now = ({json.dumps(word) for word in node.get("enum", ())} for node in (before, after))
    yield from (f"{where}: no longer knows the word {word}" for word in sorted(then - now))
    yield from (f"{where}: has the new word {word}" for word in sorted(now - then))


def _called(option: Schema) -> str:
    return str(option.get("$ref", option.get("type", json.dumps(option)))).rpartition("/")[2]
