"""Write what follows from the contracts: JSON Schema a stream under ``json/``, the topic table in ``README.md``.

Run ``python -m schemas.generate`` after changing a Struct or the topic table; with ``--check`` it writes nothing
and fails when a generated file is stale.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from schemas import deadletter
from schemas.topics import FOR_EVER, Topic, topics

HERE = Path(__file__).parent
COMMAND = "python -m schemas.generate"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RETENTION_MS, _HORIZON_MS, _HOUR_MS = 7 * 86_400_000, 13 * 3_600_000, 3_600_000
_DAY_HOURS = 24
_BINARY = {"parameters"}
"""Streams whose values are msgpack: their schema and examples show the same record as JSON, bytes in base64."""


def table(partitions: int = 4) -> Sequence[Topic]:
    """The topic table for a pipeline called ``<pipeline>``."""
    return topics("<pipeline>", partitions, _RETENTION_MS, _HORIZON_MS)


def schema_name(topic: Topic) -> str:
    """The name of a stream's schema and folder of examples; the state topics share one."""
    return "state" if topic.stream.startswith("state.") else topic.stream


def contract(topic: Topic) -> Any:
    """The Struct (or union of Structs) that a topic's values are, None for those that carry a producer's bytes."""
    if topic.contract is None:
        return None
    module, _, name = topic.contract.rpartition(".")
    return getattr(importlib.import_module(module), name)


def json_schema(topic: Topic) -> dict[str, Any]:
    """JSON Schema (2020-12) of a topic's values."""
    title = f"{topic.stream.split('.')[0]}.<service>" if topic.stream.startswith("state.") else topic.stream
    (described,), definitions = msgspec.json.schema_components((contract(topic),), ref_template="#/$defs/{name}")
    for name, definition in definitions.items():
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
        for field in _times(contract(topic), name):
            for option in definition["properties"][field].get("anyOf", [definition["properties"][field]]):
                if option["type"] == "string":
                    option["format"] = "date-time"
    return {"$schema": _DIALECT, "title": title, **described, "$defs": definitions}


def _times(kind: Any, name: str) -> list[str]:
    """The fields of a contract's Struct ``name`` that are times (msgspec's schema calls them strings)."""
    info = msgspec.inspect.type_info(kind)
    structs = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return [
        field.encode_name
        for struct in structs
        if isinstance(struct, msgspec.inspect.StructType) and struct.cls.__name__ == name
        for field in struct.fields
        if msgspec.inspect.DateTimeType in {type(option) for option in getattr(field.type, "types", (field.type,))}
    ]


def generated() -> dict[Path, str]:
    """Every generated file with the text it should have."""
    schemas = {schema_name(topic): json_schema(topic) for topic in table() if topic.contract}
    files = {HERE / "json" / f"{name}.json": f"{json.dumps(schema, indent=2)}\n" for name, schema in schemas.items()}
    return files | {HERE / "README.md": readme()}


def stale(files: dict[Path, str]) -> list[Path]:
    """The files that are missing, differ, or should not be there."""
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    return wrong + [path for path in sorted((HERE / "json").glob("*")) if path not in files]


def readme() -> str:
    """The topic table as a page: a row and a section a topic."""
    head = (
        "# Topics and their records\n\n"
        f"<!-- Written by `{COMMAND}` from topics.py and the Structs: change those. -->\n\n"
        "Every topic is named after the pipeline, `<pipeline>.<stream>`. N is `[topics] partitions`, retention is\n"
        "`[topics] retention`, the horizon is `[label] horizon`. Values are JSON (times RFC 3339 UTC) unless a section\n"
        "says otherwise. A record's Kafka timestamp is when its raw record came in. Contracts grow by fields with\n"
        "defaults; readers ignore fields they do not know; a breaking change is a new topic.\n"
    )
    rows = ["| topic | key | partitions | kept | written by | read by |", "|---|---|---|---|---|---|"]
    sections = []
    for topic, doubled in zip(table(4), table(8), strict=True):
        partitions = "N" if topic.partitions != doubled.partitions else str(topic.partitions)
        cells = (topic.key, partitions, kept(topic), ", ".join(topic.written_by), ", ".join(topic.read_by))
        rows.append(f"| [{topic.stream}](#{topic.stream.replace('.', '')}) | {' | '.join(cells)} |")
        sections.append(_section(topic))
    return "\n".join([head, *rows, "", *sections])


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


def _section(topic: Topic) -> str:
    settings = ", ".join(f"`{key}={value}`" for key, value in sorted(topic.config.items()) if key != "retention.ms")
    return f"### {topic.stream}\n\n{_about(topic)}\n\nTopic settings: {settings}.\n"


def _about(topic: Topic) -> str:
    name = schema_name(topic)
    if topic.stream.endswith(".raw"):
        return (
            "Any flat JSON object; the pipeline file says which field is what. A topic of your own may take its place."
        )
    if topic.stream == "rekeyed":
        headers = f"`{deadletter.REKEYED_FROM}`, `{deadletter.ORIGINAL_KEY}`"
        return f"Raw records under the key their partition is computed from, with headers {headers}."
    if topic.contract is None:
        named = (deadletter.EXCEPTION, deadletter.MESSAGE, deadletter.STACKTRACE, deadletter.TOPIC,
                 deadletter.PARTITION, deadletter.OFFSET, deadletter.STAGE, deadletter.RULE)  # fmt: skip
        headers = ", ".join(f"`{header}`" for header in named)
        return f"The original key, value and headers untouched, and these headers: {headers}."
    module, _, struct = topic.contract.rpartition(".")
    told = inspect.getdoc(importlib.import_module(module)) or ""
    first = " ".join(told.split("\n\n", maxsplit=1)[0].split())
    binary = " Values are msgpack; the schema and the examples show them as JSON." if name in _BINARY else ""
    links = f"[`{struct}`]({module.split('.')[-1]}.py) · [JSON Schema](json/{name}.json) · [examples](golden/{name}/)"
    return f"{first}{binary}\n\n{links}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` say which are stale; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a generated file is stale")
    check = parser.parse_args(arguments).check
    files = generated()
    wrong = stale(files)
    for path in wrong:
        print(f"{'stale' if check else 'written' if path in files else 'removed'}: {path.relative_to(HERE.parent)}")
        if not check and path in files:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path])
        elif not check:
            path.unlink()
    if check and wrong:
        print(f"These files follow from the contracts in schemas/ and do not match them: run `{COMMAND}` and commit.")
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
