"""A loop as one writes it by hand on aiokafka: a batch at a time, no transactions, offsets committed after the sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.peers.job import arguments, job


async def send(producer: AIOKafkaProducer, topic: str, partition: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Aiokafka's "direct batch control": a fifth of what ``send`` costs a record. Keys keep their partition."""
    sent = []
    batch = producer.create_batch()
    for key, value in pairs:
        if batch.append(key=key, value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)


async def run(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, sink: str, score: Callable[[bytes], bytes]
) -> None:
    while True:
        fetched: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=200, max_records=4000)
        for place, records in fetched.items():
            await send(producer, sink, place.partition, [(record.key, score(record.value)) for record in records])
        if fetched:
            await consumer.commit()


async def main() -> None:
    options = arguments(__doc__).parse_args()
    consumer = AIOKafkaConsumer(
        options.source,
        bootstrap_servers=options.broker,
        group_id=options.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,  # the guide's way to at least once: commit by hand, after the work
        max_partition_fetch_bytes=2 * 1024 * 1024,  # whole batches of 4,000
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=options.broker,
        enable_idempotence=True,  # acknowledged by all replicas, no repeats by its own retries
        compression_type="snappy",  # the cheapest of aiokafka's codecs: it compresses lz4 at level 9, zstd at 3
        max_batch_size=512 * 1024,  # the default of 16 KiB is 40 records
    )
    await consumer.start()
    await producer.start()
    await run(consumer, producer, options.sink, job(options.model))


if __name__ == "__main__":
    uvloop.run(main())
