"""``docs/topics.md``: a row and a section a topic, with its fields and one of its golden examples."""

from __future__ import annotations

import json
from typing import Any

from schemas import contracts
from schemas.topics import Topic

_HEAD = """# Topics and their records

<!-- Written by `{command}` from schemas/topics.py, the Structs and the golden examples: change those. -->

Every topic is named after the pipeline, `<pipeline>.<stream>`. N is `[topics] partitions`, retention is
`[topics] retention`, the horizon is `[label] horizon`. Values are JSON (times RFC 3339 UTC) unless a section
says otherwise. A record's Kafka timestamp is when its raw record came in.

For tools: [AsyncAPI 3](../schemas/asyncapi.json), which refers to a JSON Schema a stream. For programs:
[clients](clients.md).
"""
_TAIL = """## How contracts change

They grow by fields with defaults; readers ignore fields they do not know. Nothing else changes: not a name, a type, a
list of words, a key. A breaking change is a new topic.

At a release `python -m schemas.release` freezes schemas and golden examples under `schemas/released`. From then on
`python -m schemas.release --check`, which `make lint` runs, fails when a record of that release could not be read any
more, when it would mean something else, or when a reader of that release could not read today's records.
"""


def page(command: str) -> str:
    """The whole page; ``command`` is what writes it."""
    rows = ["| topic | key | partitions | kept | written by | read by |", "|---|---|---|---|---|---|"]
    for topic in contracts.table():
        partitions = "N" if contracts.is_scaled(topic) else str(topic.partitions)
        cells = (topic.key, partitions, contracts.kept(topic), ", ".join(topic.written_by), ", ".join(topic.read_by))
        rows.append(f"| [{topic.stream}](#{topic.stream.replace('.', '')}) | {' | '.join(cells)} |")
    return "\n".join([_HEAD.format(command=command), *rows, "", *map(_section, contracts.table()), _TAIL])


def _section(topic: Topic) -> str:
    parts = [f"## {topic.stream}", _plain(contracts.about(topic)), *_headers(topic)]
    name = contracts.schema_name(topic)
    first = next(other.stream for other in contracts.table() if contracts.schema_name(other) == name)
    if topic.stream != first:
        parts.append(f"As [{first}](#{first.replace('.', '')}).")
    elif topic.contract:
        parts += [*_fields(topic), *_example(name)]
    settings = ", ".join(f"`{key}={value}`" for key, value in sorted(topic.config.items()) if key != "retention.ms")
    return "\n\n".join([*parts, f"Topic settings: {settings}.\n"])


def _headers(topic: Topic) -> list[str]:
    rows = [f"| `{header}` | {_plain(text)} |" for header, text in contracts.headers(topic).items()]
    return ["\n".join(["| header | meaning |", "|---|---|", *rows])] if rows else []


def _fields(topic: Topic) -> list[str]:
    """A table a Struct, those named in others after them."""
    parts = []
    for title, definition in contracts.json_schema(topic)["$defs"].items():
        rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
        for field, described in definition["properties"].items():
            required = field in definition["required"]
            default = "required" if required else f"`{json.dumps(described.get('default'))}`"
            meaning = _plain(described.get("description", ""))
            rows.append(f"| `{field}` | {_kind(described)} | {default} | {meaning} |")
        parts += [f"**{title}.** {_plain(definition['description'])}", "\n".join(rows)]
    return parts


def _example(name: str) -> list[str]:
    examples = contracts.golden(name)
    first = next(iter(examples))
    shown = json.dumps(examples[first], indent=2, ensure_ascii=False)
    links = f"[JSON Schema](../schemas/json/{name}.json), [{len(examples)} examples](../schemas/golden/{name})"
    return [f"Example `{first}` ({links}):", f"```json\n{shown}\n```"]


def _kind(described: dict[str, Any]) -> str:  # noqa: PLR0911 - one return a kind of type
    """A JSON Schema's type in words."""
    if "anyOf" in described:
        return " or ".join(_kind(option) for option in described["anyOf"])
    if "$ref" in described:
        return str(described["$ref"].rpartition("/")[2])
    if "enum" in described:
        return ", ".join(f"`{word}`" for word in described["enum"])
    if described.get("format") == "date-time":
        return "time"
    if described.get("contentEncoding") == "base64":
        return "bytes"
    if described.get("type") == "array":
        return f"list of {_kind(described['items'])}"
    if described.get("type") == "object":
        return f"map of {_kind(described['additionalProperties'])}"
    return str(described.get("type", "anything"))


def _plain(text: str) -> str:
    """A docstring's text as Markdown that fits a table."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())
