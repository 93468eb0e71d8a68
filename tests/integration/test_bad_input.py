"""Every kind of dirt through the whole pipeline: repaired by a named rule or a dead letter, and nothing stops."""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from schemas import deadletter
from schemas.events import CleanEvent
from schemas.examples import Example, Record
from schemas.labels import CleanLabel
from schemas.predictions import Prediction
from services.cli.settle import take_account
from services.domain.deadletters import legible
from services.runtime import clients
from tests.integration.load import START
from tests.integration.pipelines import Pipeline, file, fresh_name, make_topics, until

GOOD = 60
AT = START + timedelta(seconds=GOOD)
WIDE = tuple(f"c{number}" for number in range(196))  # a pipeline has 200 features at most
LARGE = b'{"id":"large","x":"' + b"7" * 10_000_000 + b'"}'


@dataclass(frozen=True)
class Dirt:
    """One raw record and what must become of it: a repair ``(field, rule)`` (None: passed untouched), or a rejection."""

    name: str
    value: bytes | None
    repaired: tuple[str, str] | None = None
    rejected: str = ""
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def raw(name: str, **fields: Any) -> bytes:
    row = {"id": name, "at": AT.isoformat(), "x": 0.5, "y": 1.0, "vip": True, "color": "red"}
    return json.dumps({key: value for key, value in (row | fields).items() if value is not ...}).encode()


def spelled(name: str, feature: str, text: bytes) -> bytes:
    """An event with a field spelled in JSON as it stands here."""
    return raw(name, **{feature: ...})[:-1] + f', "{feature}": '.encode() + text + b"}"


def repaired(name: str, feature: str, text: bytes, rule: str) -> Dirt:
    return Dirt(name, spelled(name, feature, text), (feature, rule))


def label(name: str, text: bytes = b"true", at: str = (AT + timedelta(minutes=5)).isoformat()) -> bytes:
    return b'{"id":"%b","late":%b,"known_at":"%b"}' % (name.encode(), text, at.encode())


EVENTS = [
    Dirt("fine", raw("fine")),
    Dirt("unknown", raw("unknown", gate="B7", deep={"er": [1]})),
    repaired("boolean", "vip", b'"Y"', "boolean_text"),
    repaired("one", "vip", b"1", "boolean_number"),
    repaired("shouted", "vip", b'"TRUE"', "boolean_text"),
    repaired("float-for-boolean", "vip", b"0.5", "boolean_invalid"),
    repaired("case", "color", b'"RED"', "case"),
    repaired("spaces", "color", b'"  red "', "spaces"),
    repaired("surrogate", "color", b'"re\\ud800d"', "surrogate"),
    repaired("list", "color", b'["red"]', "category_invalid"),
    repaired("impossible", "x", b"123456", "range_clip"),
    repaired("text", "x", b'" 7 "', "number_text"),
    repaired("nan", "x", b"NaN", "not_a_number"),
    repaired("infinity", "x", b"-Infinity", "infinite"),
    repaired("overflow", "x", b"1e999", "infinite"),
    repaired("digits", "x", b"9" * 5000, "infinite"),
    repaired("missing", "x", b"null", "imputed_mean"),
    Dirt("bom", b"\xef\xbb\xbf" + raw("bom"), ("", "bom")),
    Dirt("twice", raw("twice")[:-1] + b', "y": 2.0}', ("y", "duplicate_key")),
    Dirt("tombstone", None, rejected="null_value"),
    Dirt("empty", b"", rejected="empty_value"),
    Dirt("large", LARGE, rejected="too_large"),
    Dirt("deep", raw("deep")[:-1] + b', "z": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", rejected="too_deep"),
    Dirt("cut", raw("cut")[:-9], rejected="json_invalid"),
    Dirt("bytes", raw("bytes").replace(b"red", b"r\xffd"), rejected="bad_utf8"),
    Dirt("array", b"[1, 2]", rejected="not_an_object"),
    Dirt("nobody", raw("nobody", id=...), rejected="id_missing"),
    Dirt("long-name", raw("x" * 257), rejected="id_invalid"),
    Dirt("half-name", raw("\ud800"), rejected="id_invalid"),
    Dirt("digits-name", spelled("z", "id", b"9" * 5000), rejected="id_invalid"),
    Dirt("no-time", raw("no-time", at=None), rejected="time_missing"),
    Dirt("zero", raw("zero", at="1970-01-01T00:00:00Z"), rejected="time_invalid"),
    Dirt("number-time", raw("number-time", at=0), rejected="time_invalid"),
    Dirt("ahead", raw("ahead", at=(AT + timedelta(days=365)).isoformat()), rejected="time_ahead"),
    Dirt("swells", raw("swells", **dict.fromkeys(WIDE, " a\ud800" + "\U0001f6eb" * 250)), rejected="output_too_large"),
    Dirt("headers", raw("headers"), rejected="too_large", headers=[("h", b"x" * 50_000)]),
    Dirt(
        "header-name", raw("header-name"), rejected="headers_invalid", headers=[("fine", b"1"), ("n\udcff\udcfe", b"2")]
    ),
]
LABELS = [
    Dirt("label-fine", label("good-0")),
    Dirt("label-first", label("comes-later")),
    Dirt("label-text", label("good-1", b'"No "'), ("late", "boolean_text")),
    Dirt("label-empty", b"", rejected="empty_value"),
    Dirt("label-number", label("good-2", b"0.37"), rejected="label_invalid"),
    Dirt("label-word", label("good-3", b'"delayed"'), rejected="label_invalid"),
    Dirt("label-nothing", label("good-4", b"null"), rejected="label_missing"),
    Dirt("label-zero", label("good-5", at="1970-01-01T00:00:00Z"), rejected="time_invalid"),
    Dirt("label-ahead", label("good-6", at="2150-01-01T00:00:00Z"), rejected="time_ahead"),
    Dirt("label-header", label("good-7"), rejected="headers_invalid", headers=[("\udc80", b"")]),
    Dirt("label-large", b'{"id":"' + b"7" * 1_040_000 + b'"}', rejected="id_invalid"),
]


@pytest.fixture(scope="module")
def sent(pipeline: Pipeline) -> dict[str, tuple[str, int, int]]:
    """Where each piece of dirt lies, once the pipeline has settled after it."""
    return asyncio.run(soiled(pipeline))


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A whole pipeline over a foreign topic of three partitions that takes messages of 12 MB, with so many features that
    one event's repairs, noted, are more than a topic takes.
    """
    name = fresh_name("dirt")
    wide = "".join(f'[features.{feature}]\ntype = "category"\ncase = "upper"\n' for feature in WIDE)
    text = file(name, event=f'topic = "{name}-orders"', features=wide)
    with Pipeline(tmp_path_factory.mktemp("dirt"), broker, text) as started:
        limit = {"max.message.bytes": str(12 * 1024 * 1024)}
        asyncio.run(make_topics(started.deployment, {f"{name}-orders": 3}, **limit))
        started.start_all()
        yield started


class RawName(str):
    """A header's name that is written as the bytes that it was read from (PEP 383)."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:  # noqa: ARG002 - str's signature
        return super().encode(encoding, "surrogateescape")


async def soiled(pipeline: Pipeline) -> dict[str, tuple[str, int, int]]:
    deployment = pipeline.deployment
    producer = clients.idempotent_producer(deployment.settings)
    await producer.start()

    async def place(topic: str, dirt: Dirt) -> tuple[str, int, int]:
        headers = [(RawName(name), content) for name, content in dirt.headers]
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 16 * 1024 * 1024)  # takes any name
        batch._set_producer_state = batch._builder.set_producer_state
        batch.append(timestamp=None, key=key_of(dirt), value=dirt.value, headers=headers)
        partition = zlib.crc32(key_of(dirt)) % len(await producer.partitions_for(topic))
        at = await (await producer.send_batch(batch, topic, partition=partition))
        return at.topic, at.partition, at.offset

    async def all_predicted() -> bool:
        return (await pipeline.totals())["join"].get("predictions", 0) >= GOOD

    async def all_joined() -> bool:
        good = sum(not dirt.rejected for dirt in LABELS)
        return (await pipeline.totals())["join"].get("labels", 0) >= good

    try:
        for number in range(GOOD):
            at = (START + timedelta(seconds=number)).isoformat()
            await producer.send(deployment.events_topic, raw(f"good-{number}", at=at))
        await until(all_predicted, f"the first events predicted; {pipeline.last_words('cleaning')}")
        places = {dirt.name: await place(deployment.events_topic, dirt) for dirt in EVENTS}
        places |= {dirt.name: await place(deployment.labels_topic, dirt) for dirt in LABELS}
        await until(all_joined, "the first labels joined: those of one id come by several lanes, in no order")
        await place(deployment.events_topic, Dirt("fine", raw("fine", x=9)))
        await place(deployment.events_topic, Dirt("comes-later", raw("comes-later")))
        for value in (label("good-0"), label("good-0", b"false"), label("good-9"), label("never-came")):
            await place(deployment.labels_topic, Dirt("again", value))
    finally:
        await producer.stop()
    await pipeline.settle()
    return places


def key_of(dirt: Dirt) -> bytes:
    return b"key of " + dirt.name.encode()


Places = dict[str, tuple[str, int, int]]


def test_what_can_be_repaired_is_and_says_how(pipeline: Pipeline, sent: Places) -> None:
    """Every repairable event is clean, with its rule among the changes, or untouched where nothing was wrong."""
    assert sent
    events = {event.event_id: event for event in asyncio.run(pipeline.decoded("events.clean", CleanEvent))}
    for dirt in EVENTS:
        if not dirt.rejected:
            told = [(change.field, change.rule) for change in events[dirt.name].changes]
            assert dirt.repaired in told if dirt.repaired else told == [], dirt.name
    assert events.keys() == {
        *(dirt.name for dirt in EVENTS if not dirt.rejected), *(f"good-{number}" for number in range(GOOD)), "comes-later",
    }  # fmt: skip


def test_what_cannot_be_repaired_is_a_dead_letter_as_it_came(pipeline: Pipeline, sent: Places) -> None:
    """Every rejected record lies in `deadletter` once, under its rule, with its own bytes, key, headers and place."""
    letters = {}
    for letter in asyncio.run(pipeline.records("deadletter")):
        told = {name: value.decode() for name, value in letter.headers}
        letters[told[deadletter.TOPIC], int(told[deadletter.PARTITION]), int(told[deadletter.OFFSET])] = letter, told
    rejected = [dirt for dirt in (*EVENTS, *LABELS) if dirt.rejected]
    for dirt in rejected:
        letter, told = letters[sent[dirt.name]]
        assert (told[deadletter.RULE], told[deadletter.STAGE]) == (dirt.rejected, "clean"), dirt.name
        assert told[deadletter.MESSAGE]
        assert letter.key == key_of(dirt)
        assert list(letter.headers)[: len(dirt.headers)] == [(legible(name), content) for name, content in dirt.headers]
        assert letter.value == dirt.value
        assert deadletter.TRUNCATED_FROM not in told
    assert len(letters) == len(rejected)


def test_labels_are_repaired_told_and_counted(pipeline: Pipeline, sent: Places) -> None:
    """Labels in another spelling, twice, changed, first, and for nothing each end as what they are."""
    assert sent

    async def scenario() -> None:
        labels = [(it.event_id, it.label) for it in await pipeline.decoded("labels.clean", CleanLabel)]
        assert ("good-1", False) in labels
        join = (await pipeline.totals())["join"]
        told = {name: join[name] for name in ("labelled", "duplicate", "corrected", "waiting", "superseded", "orphan")}
        assert told == {"labelled": 4, "duplicate": 1, "corrected": 1, "waiting": 1, "superseded": 0, "orphan": 0}

    asyncio.run(scenario())


def test_nothing_dirty_reaches_a_model(pipeline: Pipeline, sent: Places) -> None:
    """Every number that was scored or learned from is finite, and every label a boolean."""
    assert sent

    async def scenario() -> None:
        predictions = await pipeline.decoded("predictions", Prediction)
        decode = msgspec.json.Decoder(Record).decode
        records = [decode(record.value) for record in await pipeline.records("examples")]
        examples = [it for it in records if isinstance(it, Example)]
        scored: list[Prediction | Example] = [*predictions, *examples]
        for made in scored:
            assert math.isfinite(made.score)
            assert all(math.isfinite(value) for value in made.features.values() if isinstance(value, float))
        assert {type(example.label) for example in examples} == {bool}
        assert len(predictions) == GOOD + 1 + sum(not dirt.rejected for dirt in EVENTS)

    asyncio.run(scenario())


def test_the_account_balances_and_no_service_has_stopped(pipeline: Pipeline, sent: Places) -> None:
    """After all the dirt every record is accounted for, and every process is the one that was started."""
    assert sent
    drawn = asyncio.run(take_account(pipeline.deployment))
    assert drawn.balanced, (drawn.equations, drawn.checks)
    for name, process in pipeline.processes.items():
        assert process.running.poll() is None, pipeline.last_words(name)
        assert "Traceback" not in process.log.read_text(encoding="utf-8"), pipeline.last_words(name)
