"""The AsyncAPI document: valid under the official schema, and it says what the topic table and the contracts say."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from schemas import asyncapi, contracts, deadletter
from schemas.topics import SERVICES, STREAMS, topics

OFFICIAL = Path(__file__).parent / "asyncapi"
SCHEMAS = Path(asyncapi.__file__).parent
DOCUMENT = json.loads((SCHEMAS / "asyncapi.json").read_text())


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    return Draft7Validator(json.loads((OFFICIAL / "3.0.0.json").read_text()))


def referred(document: dict[str, Any], node: Any) -> Any:
    """What a reference within the document names."""
    while isinstance(node, dict) and node.get("$ref", "").startswith("#/"):
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def test_the_official_schema_is_as_it_was_published():
    """The copy of AsyncAPI's schema has the content that is written down beside it."""
    content = (OFFICIAL / "3.0.0.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() in (OFFICIAL / "README.md").read_text()


def test_the_document_is_valid(official):
    """The official JSON Schema of AsyncAPI 3.0 finds nothing wrong."""
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [(("asyncapi",), "2.6.0"), (("operations", "scoring.send.predictions", "action"), "publish"),
     (("channels", "models", "bindings", "kafka", "partitions"), 0),
     (("channels", "models", "bindings", "kafka", "topicConfiguration", "cleanup.policy"), "compact")],
)  # fmt: skip
def test_the_official_schema_finds_what_is_wrong(official, place, value):
    """A document with a mistake in it is not valid."""
    wrong = copy.deepcopy(DOCUMENT)
    node = wrong
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = value
    assert not official.is_valid(wrong)


def test_every_reference_resolves():
    """References within the document name something, those to files a schema that is there."""
    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT))
    assert len(found) > 3 * len(STREAMS)
    for target in found:
        if target.startswith("#/"):
            assert referred(DOCUMENT, {"$ref": target})
        else:
            Draft202012Validator.check_schema(json.loads((SCHEMAS / target).read_text()))


def test_every_topic_of_the_table_is_a_channel():
    """Addresses are the topics' names, and partitions and settings theirs, but for a retention that a file decides."""
    assert tuple(DOCUMENT["channels"]) == STREAMS
    for topic in topics("flights", 4, 7 * 86_400_000, 3_600_000):
        channel = DOCUMENT["channels"][topic.stream]
        kafka = channel["bindings"]["kafka"]
        settings = {**kafka["topicConfiguration"]}
        settings["cleanup.policy"] = ",".join(settings["cleanup.policy"])
        assert channel["address"].replace("{pipeline}", "flights") == topic.name
        assert referred(DOCUMENT, channel["parameters"]["pipeline"])["examples"] == ["flights"]
        assert kafka["partitions"] == topic.partitions
        told = {key: str(value) for key, value in settings.items()}
        decided = {} if "retention.ms" in told else {"retention.ms"}
        assert told == {key: value for key, value in topic.config.items() if key not in decided}


def test_the_retention_of_a_file_is_not_told_as_a_number():
    """Only what is the same in every pipeline is: the model's history, alerts, live parameters, dead letters."""
    told = {
        stream: channel["bindings"]["kafka"]["topicConfiguration"].get("retention.ms")
        for stream, channel in DOCUMENT["channels"].items()
    }
    assert {stream: value for stream, value in told.items() if value is not None} == {
        "examples": -1, "alerts": 365 * 86_400_000, "parameters": 6 * 3_600_000, "deadletter": 28 * 86_400_000,
    }  # fmt: skip
    assert "records are kept: label horizon + retention" in DOCUMENT["channels"]["outcomes"]["description"]


def test_the_operations_are_what_the_services_write_and_read():
    """A service sends to a topic, or receives from it, if and only if the table says so."""
    told = {
        (operation["tags"][0]["name"], operation["action"], operation["channel"]["$ref"].removeprefix("#/channels/"))
        for operation in DOCUMENT["operations"].values()
    }
    services = {*SERVICES, "registry"}
    assert told == {
        (service, action, topic.stream)
        for topic in contracts.table()
        for action, named in (("send", topic.written_by), ("receive", topic.read_by))
        for service in services & set(named)
    }


def test_every_example_is_a_golden_one_and_valid_under_its_payload():
    """Each message of a contract shows all golden examples of its stream."""
    for topic in contracts.table():
        message = DOCUMENT["components"]["messages"][topic.stream]
        if topic.contract is None:
            assert "examples" not in message
            continue
        schema = json.loads((SCHEMAS / message["payload"]["schema"]["$ref"]).read_text())
        payloads = [example["payload"] for example in message["examples"]]
        assert payloads == list(contracts.golden(contracts.schema_name(topic)).values())
        for validator in (Draft202012Validator(schema), Draft7Validator(schema)):  # the document says draft 07
            assert all(validator.is_valid(payload) for payload in payloads)
            assert not validator.is_valid({})


def test_dead_letters_and_rekeyed_records_have_their_headers():
    """Every header name of the contract is in exactly one message, with its meaning."""
    told = {
        stream: set(message["headers"]["properties"])
        for stream, message in DOCUMENT["components"]["messages"].items()
        if "headers" in message
    }
    names = {
        value
        for value in vars(deadletter).values()
        if isinstance(value, str) and re.match(r"(__streams|rivermill)\.", value)
    }
    rekeyed = {deadletter.REKEYED_FROM, deadletter.ORIGINAL_KEY}
    assert told == {"rekeyed": rekeyed, "deadletter": names - rekeyed}


def test_keys_and_content_types_are_told():
    """The key of each record by what it is; live parameters are msgpack, all else is JSON."""
    messages = DOCUMENT["components"]["messages"]
    assert {topic.stream: topic.key for topic in contracts.table()} == {
        stream: message["bindings"]["kafka"]["key"]["description"] for stream, message in messages.items()
    }
    binary = {stream for stream, message in messages.items() if message["contentType"] != "application/json"}
    assert binary == {"parameters"}
    assert DOCUMENT["info"]["version"] == asyncapi.version()
