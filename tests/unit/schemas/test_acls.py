"""Access control lists as they follow from the topic table."""

from __future__ import annotations

import shlex

from schemas.acls import ROLES, grants
from schemas.topics import topics
from services.cli.access_lists import acls, commands
from services.domain.spec import parse
from services.runtime.launch import Deployment
from services.runtime.settings import Settings
from tests.unit.domain.spec_texts import BINARY

TABLE = topics("p", 3, 86_400_000, 86_400_000)


def allowed(operation: str) -> set[tuple[str, str]]:
    """Role and stream wherever a topic's full name is granted."""
    return {
        (grant.role, name.removeprefix("p."))
        for grant in grants("p", TABLE)
        if grant.resource == "topic" and not grant.prefixed and operation in grant.operations
        for name in grant.names
    }


def test_who_reads_and_writes_is_the_tables_word() -> None:
    """Every reader and writer of the table, and nobody else, may read and write; every role has something to do."""
    assert allowed("Write") == {(role, topic.stream) for topic in TABLE for role in topic.written_by}
    named = {(role, topic.stream) for topic in TABLE for role in topic.read_by}
    assert allowed("Read") == {(role, stream) for role, stream in named if role != "operators"}
    assert {role for topic in TABLE for role in (*topic.written_by, *topic.read_by)} == set(ROLES)
    assert {grant.role for grant in grants("p", TABLE)} == set(ROLES)


def test_operators_alone_make_and_delete_and_write_nothing() -> None:
    """Topics are the operators' to make and to delete; they forge no record."""
    for grant in grants("p", TABLE):
        changes = {"Create", "Delete"} & set(grant.operations)
        assert not changes or grant.role == "operators"
        assert "Write" not in grant.operations or grant.role != "operators"


def test_a_prefix_is_never_another_pipelines() -> None:
    """What is granted by prefix ends in a dot, so that pipeline p2 is out of p's reach, and service from service."""
    for grant in grants("p", TABLE):
        if grant.prefixed:
            assert all(name.endswith(".") for name in grant.names)
            assert all(name.startswith("p.") or grant.role == "registry" for name in grant.names)
    ids = [grant for grant in grants("p", TABLE) if grant.resource == "transactional-id"]
    assert len({name for grant in ids for name in grant.names}) == len(ids)


def test_a_producers_own_topic_stands_in_for_ours() -> None:
    """Named in the pipeline file, a foreign topic is granted by its own name, and ours of that stream is not."""
    spec = parse(BINARY.replace("[event]", '[event]\ntopic = "orders"'))
    granted = Deployment(spec, Settings()).grants()
    named = {name for grant in granted for name in grant.names}
    assert "orders" in named
    assert not {"flights.events.raw", "flights.orders"} & named
    assert "flights.labels.raw" in named
    described = {it.role for it in granted if "orders" in it.names and "DescribeConfigs" in it.operations}
    assert described == {"cleaning", "scoring", "learner", "drift", "operators"}


def test_commands_and_json_say_the_same() -> None:
    """A command allows one principal some operations with the resources that JSON lists, and names the pattern."""
    granted = grants("p", TABLE)
    told = set()
    for line in commands(granted, "User:CN={role},O=Some Body", "kafka:9093"):
        words = shlex.split(line)
        assert words[:3] == ["kafka-acls.sh", "--bootstrap-server", "kafka:9093"]
        options = list(zip(words[words.index("--add") + 1 :: 2], words[words.index("--add") + 2 :: 2], strict=True))
        given = {name: [value for option, value in options if option == name] for name, _ in options}
        ((principal,), (pattern,)) = given.pop("--allow-principal"), given.pop("--resource-pattern-type")
        operations = tuple(given.pop("--operation"))
        told |= {(principal, kind[2:], name, pattern, operations) for kind, names in given.items() for name in names}
    entries = acls(granted, "User:CN={role},O=Some Body")
    assert told == {(it.principal, it.resource, it.name, it.pattern, it.operations) for it in entries}
    assert ("User:CN=drift,O=Some Body", "topic", "p.alerts", "literal", ("Write",)) in told
