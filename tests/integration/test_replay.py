"""Replays and `rivermill produce` on the real broker."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from examples.flights.data import flights
from examples.flights.dirt import Send, soil
from examples.flights.replay import Replay
from services.cli import topic_batches
from services.cli.broker import Broker
from services.cli.produce import produce
from services.cli.topic_batches import ProduceError
from services.domain.murmur import partition

PARTITIONS = 4
Record = tuple[int, bytes | None, bytes | None]


class Produce(Protocol):
    def __call__(self, source: str | Path, key_field: str | None = None) -> tuple[int, list[Record]]: ...


async def make_topics(address: str, *names: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=config) for name in names])
    finally:
        await admin.close()


async def read_all(address: str, topic: str) -> list[Record]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Record] = []
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                records += [(each.partition, each.key, each.value) for each in batch]
        return records
    finally:
        await consumer.stop()


def raw_topics(pipeline: str) -> tuple[str, str]:
    return f"{pipeline}.events.raw", f"{pipeline}.labels.raw"


def test_a_replay_sends_every_record_where_its_key_belongs(broker: str, pipeline_name: str) -> None:
    """At full speed each event and label is in its topic once, on the partition that murmur2 of its key names."""
    sends = list(soil(flights(3), share=0.2))

    async def scenario() -> tuple[Replay, list[Record], list[Record]]:
        events, labels = raw_topics(pipeline_name)
        await make_topics(broker, events, labels)
        replay = Replay({"bootstrap_servers": broker}, sends, pipeline_name, math.inf)
        await replay.run()
        return replay, await read_all(broker, events), await read_all(broker, labels)

    replay, events, labels = asyncio.run(scenario())
    for kind, records in (("event", events), ("label", labels)):
        wanted = [(send.key, send.value) for send in sends if send.kind == kind]
        assert sorted((key or b"", value or b"") for _, key, value in records) == sorted(
            (k or b"", v) for k, v in wanted
        )
        assert all(place == partition(key, PARTITIONS) for place, key, _ in records if key)
    progress = replay.progress
    assert (progress.events, progress.labels, progress.finished) == (len(events), len(labels), True)
    assert progress.current == sends[-1].at


def test_a_replay_keeps_its_pace_and_stops_when_told(broker: str, pipeline_name: str) -> None:
    """A paced replay sends nothing before its time, and stop ends it early with all that was sent acknowledged."""
    sends = [Send(second, "event", str(second).encode(), b"{}") for second in range(0, 1_000_000, 10)]

    async def scenario() -> tuple[Replay, float, list[Record]]:
        events, labels = raw_topics(pipeline_name)
        await make_topics(broker, events, labels)
        replay = Replay({"bootstrap_servers": broker}, sends, pipeline_name, speed=1000)
        began = time.monotonic()
        running = asyncio.create_task(replay.run())
        while replay.progress.events < 50:  # noqa: ASYNC110 - a program that watches progress polls it
            await asyncio.sleep(0.01)
        replay.stop()
        await running
        return replay, time.monotonic() - began, await read_all(broker, events)

    replay, seconds, records = asyncio.run(scenario())
    assert replay.progress.current is not None
    assert replay.progress.current <= seconds * 1000
    assert len(records) == replay.progress.events < len(sends)
    assert not replay.progress.finished


@pytest.fixture
def produce_to(broker: str, pipeline_name: str) -> Produce:
    """Produces to a topic of its own whose records are at most 100 kB."""

    async def scenario(source: str | Path, key_field: str | None) -> tuple[int, list[Record]]:
        await make_topics(broker, pipeline_name, **{"max.message.bytes": "100000"})
        count = await produce(source, pipeline_name, {"bootstrap_servers": broker}, key_field=key_field)
        return count, await read_all(broker, pipeline_name)

    return lambda source, key_field=None: asyncio.run(scenario(source, key_field))


def values(records: Iterable[Record]) -> list[bytes]:
    return sorted(value or b"" for _, _, value in records)


def test_lines_of_json_are_sent_byte_for_byte(produce_to: Produce, tmp_path: Path) -> None:
    """Every line is a record as it stands, keyed by the named field; blank lines are none."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"id": 7,  "x": 1.50}\n\n{"id":"a"}\r\n{"id":"last line, not ended"}')
    count, records = produce_to(path, key_field="id")
    assert count == 3
    assert values(records) == [b'{"id": 7,  "x": 1.50}', b'{"id":"a"}', b'{"id":"last line, not ended"}']
    assert {key for _, key, _ in records} == {b"7", b"a", b"last line, not ended"}


def test_rows_of_csv_become_typed_objects(produce_to: Produce, tmp_path: Path) -> None:
    """Numbers, true and false are typed, an empty cell is null, a number with leading zeros stays text."""
    path = tmp_path / "events.csv"
    path.write_text('\ufeffid,n,flag,zip,note\n1,1.5,true,00501,"two\nlines"\n2,,false,x,\n', encoding="utf-8")
    count, records = produce_to(path, key_field="id")
    assert count == 2
    assert sorted((json.loads(value) for value in values(records)), key=lambda row: row["id"]) == [
        {"id": 1, "n": 1.5, "flag": True, "zip": "00501", "note": "two\nlines"},
        {"id": 2, "n": None, "flag": False, "zip": "x", "note": None},
    ]


def test_standard_input_is_sent_as_it_comes(
    produce_to: Produce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads standard input; without a key field records have no key and are spread over the partitions."""
    path = tmp_path / "stdin"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(100)))
    with path.open("rb") as file:
        monkeypatch.setattr("sys.stdin", file)
        count, records = produce_to("-")
    assert count == 100
    assert {place for place, _, _ in records} == set(range(PARTITIONS))
    assert {key for _, key, _ in records} == {None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"id":1}\n{"id":', r"a.jsonl: line 2 is not JSON .*\(records sent before: 1\)"),
        ("a.jsonl", b'{"x":1}\n', r"line 1 has no 'id' to be its key"),
        ("a.jsonl", b"[1]\n", r"line 1 is no JSON object"),
        ("a.csv", b"id,x\n1,2\n1\n", r"line 3 does not have as many cells"),
        ("a.csv", b"id,x\n1,\xff\n", r"not CSV in UTF-8"),
    ],
)
def test_what_cannot_be_sent_is_told_by_line(
    produce_to: Produce, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """A record without a usable key, or a broken file, is an error that names file and line."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ProduceError, match=message):
        produce_to(path, key_field="id")


def test_a_topic_or_a_file_that_is_not_there_is_told(broker: str, produce_to: Produce) -> None:
    """A missing topic names the command that makes it, a missing file itself."""
    with pytest.raises(ProduceError, match=r"no topic 'nobody'.*rivermill topics"):
        asyncio.run(produce(os.devnull, "nobody", {"bootstrap_servers": broker}))
    with pytest.raises(ProduceError, match=r"nowhere.csv: cannot be read"):
        produce_to("nowhere.csv")


def test_a_broker_that_answers_late_has_the_topic_all_the_same(
    embedded_broker: Broker, pipeline_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a topic is not there is said by the broker, and not by the time that it takes to answer."""

    async def scenario() -> None:
        address = embedded_broker.address
        await make_topics(address, pipeline_name)
        producers = [await topic_batches.started({"bootstrap_servers": address}) for _ in range(2)]
        first, second = (topic_batches.TopicBatches(each, pipeline_name) for each in producers)
        await first.open()  # the broker knows it
        monkeypatch.setattr(topic_batches, "_TOPIC_TIMEOUT_S", 0.1)
        embedded_broker.pause()
        try:
            opening = asyncio.create_task(second.open())
            await asyncio.wait([opening], timeout=0.5)
        finally:
            embedded_broker.resume()
        await opening
        for each in producers:
            await each.stop()

    asyncio.run(scenario())


def test_a_record_that_is_too_large_is_told(produce_to: Produce, tmp_path: Path) -> None:
    """A record above the topic's limit is an error that says so."""
    path = tmp_path / "large.jsonl"
    path.write_bytes(json.dumps({"x": os.urandom(200_000).hex()}).encode())
    with pytest.raises(ProduceError, match=r"larger than the topic's max.message.bytes"):
        produce_to(path)
