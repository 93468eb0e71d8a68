"""What the contracts say of themselves: the topic table, JSON Schema and golden examples of each stream's values."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from schemas import deadletter
from schemas.topics import FOR_EVER, Topic, topics

GOLDEN = Path(__file__).parent / "golden"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
BINARY = {"parameters"}
"""Streams whose values are msgpack: their schema and examples show the same record as JSON, bytes in base64."""
REKEYED = (deadletter.REKEYED_FROM, deadletter.ORIGINAL_KEY)
_RETENTION_MS, _HORIZON_MS, _HOUR_MS = 7 * 86_400_000, 13 * 3_600_000, 3_600_000
_DAY_HOURS = 24


def table(partitions: int = 4) -> Sequence[Topic]:
    """The topic table for a pipeline called ``<pipeline>``."""
    return topics("<pipeline>", partitions, _RETENTION_MS, _HORIZON_MS)


def is_scaled(topic: Topic) -> bool:
    """Whether the topic has as many partitions as the pipeline."""
    (doubled,) = (other for other in table(2 * topic.partitions) if other.stream == topic.stream)
    return doubled.partitions != topic.partitions


def schema_name(topic: Topic) -> str:
    """The name of a stream's schema and folder of examples; the state topics share one."""
    return "state" if topic.stream.startswith("state.") else topic.stream


def contract(topic: Topic) -> Any:
    """The Struct (or union of Structs) that a topic's values are, None for those that carry a producer's bytes."""
    return None if topic.contract is None else getattr(_module(topic), topic.contract.rpartition(".")[2])


def about(topic: Topic) -> str:
    """What a topic holds, in a sentence or two."""
    if topic.stream.endswith(".raw"):
        return (
            "Any flat JSON object; the pipeline file says which field is what. A topic of your own may take its place."
        )
    if topic.stream == "rekeyed":
        return "Raw records under the key their partition is computed from."
    if topic.contract is None:
        return "What could not be used: the original key, value and headers untouched, and headers that say why."
    told = inspect.getdoc(_module(topic)) or ""
    first = " ".join(told.split("\n\n", maxsplit=1)[0].split())
    return f"{first} Values are msgpack; the examples show them as JSON." if topic.stream in BINARY else first


def headers(topic: Topic) -> Mapping[str, str]:
    """The headers that Rivermill adds to a topic's records, with their meaning."""
    if topic.contract or topic.stream.endswith(".raw"):
        return {}
    told = _docstrings(_tree(deadletter).body)
    named = {getattr(deadletter, name): text for name, text in told.items()}
    return {header: text for header, text in named.items() if (header in REKEYED) == (topic.stream == "rekeyed")}


def kept(topic: Topic) -> str:
    """How long Kafka keeps a topic's records, in words."""
    policy, retention = topic.config["cleanup.policy"], int(topic.config.get("retention.ms", FOR_EVER))
    named = {
        FOR_EVER: "for ever",
        _RETENTION_MS: "retention",
        _RETENTION_MS + _HORIZON_MS: "label horizon + retention",
    }
    hours, days = retention // _HOUR_MS, retention // _HOUR_MS // _DAY_HOURS
    text = named.get(retention, f"{days} days" if days else f"{hours} hours")
    if policy == "delete":
        return text
    return "compacted" if retention == FOR_EVER else f"compacted, {text}"


def is_fixed(topic: Topic) -> bool:
    """Whether the topic's retention is the same in every pipeline."""
    return int(topic.config.get("retention.ms", FOR_EVER)) not in (_RETENTION_MS, _RETENTION_MS + _HORIZON_MS)


def golden(name: str) -> Mapping[str, Any]:
    """The golden examples of a schema, by their names."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((GOLDEN / name).glob("*.json"))}


def json_schema(topic: Topic) -> dict[str, Any]:
    """JSON Schema (2020-12) of a topic's values."""
    title = "state.<service>" if schema_name(topic) == "state" else topic.stream
    return {"$schema": DIALECT, "title": title, **schema_of(contract(topic))}


def schema_of(kind: Any) -> dict[str, Any]:
    """JSON Schema of a Struct, or union of Structs, with the meanings of its fields."""
    (described,), definitions = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    for struct in _structs(msgspec.inspect.type_info(kind)):
        definition = definitions[struct.cls.__name__]
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
        if "properties" in definition:
            _describe(definition["properties"], struct)
    return {**described, "$defs": definitions}


def _describe(properties: dict[str, Any], struct: msgspec.inspect.StructType) -> None:
    """Add the fields' meanings, and the format of those that are times (msgspec's schema calls them strings)."""
    told = meanings(struct.cls)
    if struct.tag_field:
        properties[struct.tag_field]["description"] = "Which kind of record it is."
    for field in struct.fields:
        described = properties[field.encode_name]
        if field.name in told:
            described["description"] = told[field.name]
        kinds = {type(option) for option in getattr(field.type, "types", (field.type,))}
        if msgspec.inspect.DateTimeType in kinds:
            for option in described.get("anyOf", [described]):
                if option["type"] == "string":
                    option["format"] = "date-time"


def _structs(info: Any) -> Iterator[msgspec.inspect.StructType]:
    """Every Struct that a type is made of."""
    if isinstance(info, msgspec.inspect.StructType):
        yield info
        for field in info.fields:
            yield from _structs(field.type)
    for part in ("types", "item_type", "value_type"):
        inner = getattr(info, part, ())
        for each in inner if isinstance(inner, tuple) else (inner,):
            yield from _structs(each)


def meanings(struct: type) -> Mapping[str, str]:
    """The docstrings under the fields of a Struct."""
    module = inspect.getmodule(struct)
    bodies = [] if module is None else _tree(module).body
    found = [node for node in bodies if isinstance(node, ast.ClassDef) and node.name == struct.__name__]
    return _docstrings(found[0].body) if found else {}


def _docstrings(body: Sequence[ast.stmt]) -> dict[str, str]:
    """What stands as text under each name that is given a value or a type."""
    told = {}
    for node, after in pairwise(body):
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        if isinstance(target, ast.Name) and isinstance(text, str):
            told[target.id] = " ".join(text.split())
    return told


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _module(topic: Topic) -> ModuleType:
    return importlib.import_module((topic.contract or "").rpartition(".")[0])
