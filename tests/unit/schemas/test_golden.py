"""Golden examples: what is written today must be readable for as long as the topic exists."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from schemas import codec, contracts
from schemas.compatibility import holds
from schemas.examples import Control
from schemas.parameters import LiveParameters
from services.domain.spec import from_canonical

GOLDEN = contracts.GOLDEN
TOPICS = {contracts.schema_name(topic): topic for topic in contracts.table() if topic.contract}
EXAMPLES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*.json"))


def read(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_golden_example_survives_decode_and_encode(name):
    """Decoding and encoding a golden example loses nothing of it, and gives the same Struct again."""
    contract = contracts.contract(TOPICS[name.split("/")[0]])
    record = msgspec.json.decode(read(name), type=contract)
    encoded = codec.encode(record)
    assert holds(json.loads(encoded), json.loads(read(name)))
    assert msgspec.json.decode(encoded, type=contract) == record


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_golden_example_is_valid_under_the_generated_schema(name):
    """What the Structs read, the committed JSON Schema allows."""
    schema = json.loads((GOLDEN.parent / "json" / f"{name.split('/')[0]}.json").read_text())
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(json.loads(read(name)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_unknown_field_does_not_stop_a_reader(name):
    """Evolution is additive: a reader of today reads a record of tomorrow."""
    contract = contracts.contract(TOPICS[name.split("/")[0]])
    tomorrow = json.dumps({**json.loads(read(name)), "a_field_of_tomorrow": {"nested": [1]}})
    today = codec.encode(msgspec.json.decode(tomorrow, type=contract))
    assert json.loads(today) == json.loads(codec.encode(msgspec.json.decode(read(name), type=contract)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_generated_schema_requires_what_the_struct_requires(name):
    """Taking a field out of a golden example fails in the Struct if and only if it fails in the schema."""
    stream = name.split("/")[0]
    contract = contracts.contract(TOPICS[stream])
    validator = Draft202012Validator(json.loads((GOLDEN.parent / "json" / f"{stream}.json").read_text()))
    whole = json.loads(read(name))
    for field in whole:
        part = {key: value for key, value in whole.items() if key != field}
        try:
            msgspec.json.decode(json.dumps(part), type=contract)
            readable = True
        except msgspec.ValidationError:
            readable = False
        assert validator.is_valid(part) is readable, field


def test_every_contract_has_golden_examples_and_every_folder_a_contract():
    """No stream with a contract is without an example, no folder of examples without a stream."""
    assert {name.split("/")[0] for name in EXAMPLES} == set(TOPICS)


def test_every_state_of_an_outcome_has_an_example():
    """The ledger's six states are all shown."""
    states = {json.loads(read(name))["state"] for name in EXAMPLES if name.startswith("outcomes/")}
    assert states == {"labelled", "corrected", "duplicate", "superseded", "expired", "orphan"}


def test_the_golden_control_record_carries_a_pipeline_that_can_still_be_refolded():
    """A control record's canonical form is readable by this release, and its hash is that of its text."""
    control = msgspec.json.decode(read("examples/control.json"), type=Control)
    assert from_canonical(control.pipeline).pipeline.name == "flights"
    assert hashlib.sha256(control.pipeline.encode()).hexdigest()[:16] == control.spec


def test_live_parameters_survive_msgpack():
    """On the wire they are msgpack: the same record comes out."""
    live = msgspec.json.decode(read("parameters/live.json"), type=LiveParameters)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(live), type=LiveParameters) == live
