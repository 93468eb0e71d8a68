"""The AsyncAPI 3 document: every topic as a channel, its records as messages, what each service sends and receives."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from schemas import contracts
from schemas.topics import SERVICES, Topic

_BINDINGS = "0.5.0"
_SERVICES = (*SERVICES, "registry")
_FORMAT = "application/schema+json;version=draft-07"
"""The schemas are 2020-12, and use nothing that draft 07, which every AsyncAPI tool must know, reads otherwise."""
_PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
_DESCRIPTION = (
    "From raw events and late labels on Kafka to live predictions of a model that keeps learning. An operation is what a "
    "service of Rivermill does: your producers send what it receives from `events.raw` and `labels.raw`, your consumers "
    "receive what it sends. Read with `isolation.level=read_committed`. A record's Kafka timestamp is when its raw record "
    "came in. Partitions and retention are those of a pipeline file that does not name them."
)


def version() -> str:
    """The version of Rivermill that the contracts belong to."""
    return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


def document() -> dict[str, Any]:
    """The whole document; the payloads refer to the files under ``json/``, relative to ``schemas/``."""
    table = contracts.table()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rivermill",
            "version": version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.stream: _channel(topic) for topic in table},
        "operations": {
            f"{service}.{action}.{topic.stream}": _operation(service, action, topic)
            for service in _SERVICES
            for action, services in (("receive", "read_by"), ("send", "written_by"))
            for topic in table
            if service in getattr(topic, services)
        },
        "components": {
            "messages": {topic.stream: _message(topic) for topic in table},
            "parameters": {
                "pipeline": {
                    "description": "The pipeline's name: `[pipeline] name` of its file.",
                    "examples": ["flights"],
                }
            },
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    numbers = {key: int(value) if value.lstrip("-").isdigit() else value for key, value in topic.config.items()}
    settings: dict[str, Any] = {**numbers, "cleanup.policy": topic.config["cleanup.policy"].split(",")}
    if not contracts.is_fixed(topic):
        settings.pop("retention.ms")
    count = "as many partitions as the pipeline" if contracts.is_scaled(topic) else "one partition"
    return {
        "address": f"{{pipeline}}.{topic.stream}",
        "title": topic.stream,
        "description": f"{contracts.about(topic)} It has {count}; records are kept: {contracts.kept(topic)}.",
        "messages": {topic.stream: {"$ref": f"#/components/messages/{topic.stream}"}},
        "parameters": {"pipeline": {"$ref": "#/components/parameters/pipeline"}},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": settings,
                "bindingVersion": _BINDINGS,
            }
        },
    }


def _operation(service: str, action: str, topic: Topic) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic.stream}"},
        "messages": [{"$ref": f"#/channels/{topic.stream}/messages/{topic.stream}"}],
        "tags": [{"name": service}],
    }


def _message(topic: Topic) -> dict[str, Any]:
    name = contracts.schema_name(topic)
    key = {"type": "string", "description": topic.key}
    message: dict[str, Any] = {
        "name": topic.stream,
        "contentType": "application/msgpack" if topic.stream in contracts.BINARY else "application/json",
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDINGS}},
    }
    if told := contracts.headers(topic):
        message["headers"] = {
            "type": "object",
            "properties": {header: {"type": "string", "description": text} for header, text in told.items()},
        }
    if topic.contract:
        message["payload"] = {"schemaFormat": _FORMAT, "schema": {"$ref": f"json/{name}.json"}}
        message["examples"] = [
            {"name": example, "payload": payload} for example, payload in contracts.golden(name).items()
        ]
    else:
        message["payload"] = {"description": contracts.about(topic)}
    return message
