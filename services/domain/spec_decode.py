"""From decoded TOML or JSON to the Structs of a pipeline file, with every problem named by its key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from services.domain.records import NUMBER_MAX
from services.domain.spec_tables import Problem, Spec

Path = tuple[str | int, ...]
msgspec.json.Decoder(Spec)  # threads must not be the first to use a type of msgspec's (decision 0020)
_INT64 = 2**63
_SHOWN = 60
_DEEPEST = 8
NUMBER_MIN = 1 / NUMBER_MAX
"""The least number above zero that a pipeline file may have: one can divide by it."""


def decode(raw: Mapping[str, Any], problems: list[Problem]) -> Spec | None:
    """The Spec, or None with what is wrong appended to ``problems`` (keys, types and plain values only)."""
    _plain(raw, (), problems)
    if problems:
        return None
    _walk(raw, Spec, (), problems)
    return None if problems else msgspec.convert(raw, Spec)


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean `x`?`` for the known word nearest to this one, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{found[0]}`?" if found else ""


def shown(value: object) -> str:
    """A value as TOML would write it, cut to a readable length."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        text = f"{{ {', '.join(f'{key} = {shown(inner)}' for key, inner in value.items())} }}" if value else "{}"
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _plain(value: object, path: Path, problems: list[Problem]) -> None:
    """No infinities, no NaN, no number too large or too small to reckon with, no integer that JSON readers would
    round, no text that is not Unicode.
    """
    if len(path) > _DEEPEST:
        problems.append(Problem(path[:_DEEPEST], "expected a value, got tables or lists nested without end"))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _plain(key, path, problems)
            _plain(inner, (*path, key), problems)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _plain(inner, (*path, index), problems)
    elif isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(path, f"expected a finite number, got {value}"))
    elif isinstance(value, float) and value and not NUMBER_MIN <= abs(value) <= NUMBER_MAX:
        expected = f"expected 0 or a number of {NUMBER_MIN:g} to {NUMBER_MAX:g}, either sign"
        problems.append(Problem(path, f"{expected}, got {value}"))
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        problems.append(Problem(path, "expected an integer of at most 64 bits, got a larger one"))
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        problems.append(Problem(path, "expected Unicode text, got a lone surrogate"))


def _walk(value: Any, kind: Any, path: Path, problems: list[Problem]) -> None:
    """Descend into tables and lists of tables; everything else is a leaf that msgspec judges."""
    table, each = _table(kind), _element(kind)
    if table is not None and isinstance(value, Mapping):
        _walk_table(value, table, path, problems)
    elif each is not None and isinstance(value, Mapping) and get_origin(_bare(kind)) is dict:
        for key, inner in value.items():
            _walk(inner, each, (*path, key), problems)
    elif each is not None and isinstance(value, list) and get_origin(_bare(kind)) is tuple:
        for index, inner in enumerate(value):
            _walk(inner, each, (*path, index), problems)
        _leaf_length(value, kind, path, problems)
    else:
        _leaf(value, kind, path, problems)


def _walk_table(value: Mapping[str, Any], table: type[msgspec.Struct], path: Path, problems: list[Problem]) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    for key, inner in value.items():
        if key in fields:
            _walk(inner, fields[key].type, (*path, key), problems)
        else:
            hint = nearest(key, fields) or f"; known here: {', '.join(fields)}"
            problems.append(Problem((*path, key), f"unknown key{hint}"))
    for name, field in fields.items():
        if field.required and name not in value:
            problems.append(Problem((*path, name), f"missing; expected {described(field.type)}"))


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _table(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct that a type is, or holds beside None."""
    kind = _bare(kind)
    options = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    tables = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return tables[0] if tables else None


def _element(kind: Any) -> Any:
    """The Struct type of a dict's values or a tuple's elements; None for every other type."""
    arguments = get_args(_bare(kind))
    if get_origin(_bare(kind)) is dict and _table(arguments[1]):
        return arguments[1]
    if get_origin(_bare(kind)) is tuple and _table(arguments[0]):
        return arguments[0]
    return None


def _leaf(value: Any, kind: Any, path: Path, problems: list[Problem]) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        literals = [str(word) for word in _literals(inspect.type_info(kind))]
        hint = nearest(value, literals) if isinstance(value, str) else ""
        problems.append(Problem(path, f"expected {described(kind)}, got {shown(value)}{hint}"))


def _leaf_length(value: list[Any], kind: Any, path: Path, problems: list[Problem]) -> None:
    info = inspect.type_info(kind)
    if isinstance(info, inspect.VarTupleType) and not (info.min_length or 0) <= len(value) <= (
        info.max_length or 10**9
    ):
        problems.append(Problem(path, f"expected {described(kind)}, got {len(value)}"))


def _literals(info: inspect.Type) -> list[object]:
    if isinstance(info, inspect.UnionType):
        return [word for option in info.types for word in _literals(option)]
    return list(info.values) if isinstance(info, inspect.LiteralType) else []


def described(kind: Any) -> str:
    """A type in words: ``an integer from 1 to 256``, ``one of "clip", "keep"``, ``a list of numbers``."""
    return _described(inspect.type_info(kind))


def _described(info: inspect.Type) -> str:  # noqa: PLR0911 - one return a kind of type
    match info:
        case inspect.UnionType():
            return " or ".join(_described(option) for option in info.types if not isinstance(option, inspect.NoneType))
        case inspect.LiteralType():
            words = ", ".join(f'"{word}"' for word in info.values)
            return words if len(info.values) == 1 else f"one of {words}"
        case inspect.IntType():
            return f"an integer from {info.ge} to {info.le}" if info.le is not None else "an integer"
        case inspect.StrType():
            return f"text that matches {info.pattern}".replace(r"\Z", "$") if info.pattern else "text in quotes"
        case inspect.VarTupleType():
            bounds = f" (at least {info.min_length})" if info.min_length else ""
            return f"a list of {_plural(info.item_type)}{bounds}"
        case inspect.TupleType():
            return f"a list of {len(info.item_types)} {_plural(info.item_types[0])}"
        case inspect.BoolType():
            return "true or false"
        case inspect.FloatType():
            return "a number"
        case _:
            return "a table"


def _plural(info: inspect.Type) -> str:
    return {inspect.StrType: "texts", inspect.FloatType: "numbers"}.get(type(info), "tables")
