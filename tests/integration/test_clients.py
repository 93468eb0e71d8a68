"""docs/clients.md on a real Kafka: each of its commands, as it stands there, against the pipeline that it is about."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from schemas import deadletter
from services.domain.murmur import partition
from tests.debian import program
from tests.integration.kafka_tools import lay_out
from tests.integration.pipelines import Pipeline, fresh_name, until
from tests.pages import DOCS, blocks

PAGE = "clients.md"
SECTIONS = ("## aiokafka", "## confluent-kafka", "## Kafka's console tools", "## kcat")
WITHIN = 60
LABELLED = {"A-1001": "true", "A-1010": "false"}
REFUSED = "A-1012"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the page's programs are on PATH."""
    folder = tmp_path_factory.mktemp("bin")
    program("kcat", ["kcat", "librdkafka1", "libyajl2"], folder)
    return {**lay_out(folder), "PYTHONPATH": ""}


@pytest.fixture(scope="module")
def orders(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The order shop of docs/own-topics.md, running."""
    (text, *_) = (block for _, block in blocks("own-topics.md", kinds=["toml"]) if "[pipeline]" in block)
    text = text.replace('name = "orders"', f'name = "{fresh_name("orders")}"')
    with Pipeline(tmp_path_factory.mktemp("orders"), broker, text) as pipeline:
        for service in ("registry", "cleaning", "scoring", "learner"):
            pipeline.start(service)
        pipeline.wait_ready()
        yield pipeline


def ids(text: str) -> set[str]:
    return set(re.findall(r"A-\d{4}", text))


def here(text: str, pipeline: Pipeline) -> str:
    """A block of the page for this broker and this pipeline."""
    assert "kafka-1:9092" in text
    text = text.replace("kafka-1:9092", pipeline.deployment.settings.broker)
    return re.sub(r"\borders\.", f"{pipeline.deployment.name}.", text)


def run(kind: str, text: str, env: Mapping[str, str], output: Path, awaited: set[str]) -> str:
    """What a block prints until it ends, or has printed what is awaited; the test fails if it does neither in time."""
    command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euo", "pipefail", "-c", text]
    with output.open("wb") as sink:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    deadline = time.monotonic() + WITHIN
    ended, told = None, ""
    while ended is None and not (awaited and awaited <= ids(told)) and time.monotonic() < deadline:
        time.sleep(0.02)
        ended = process.poll()
        told = output.read_text(encoding="utf-8")
    process.kill()
    process.wait()
    assert ended == 0 or (ended is None and awaited), f"ended with {ended}:\n{text}\n{told}"
    assert awaited <= ids(told), f"printed nothing of {awaited - ids(told)}:\n{text}\n{told}"
    return told


def there(pipeline: Pipeline, stream: str, keys: set[str]) -> None:
    """Wait until every key has a record."""

    async def scenario() -> None:
        async def all_there() -> bool:
            return keys <= {record.key.decode() for record in await pipeline.records(stream)}

        await until(all_there, f"records of {keys} on {stream}", WITHIN)

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def outputs(
    orders: Pipeline, shell: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[str, str]]]:
    """Run the page from its top to its end: what each block printed, by section."""
    output, sent = tmp_path_factory.mktemp("output") / "output", set[str]()
    printed: dict[str, list[tuple[str, str]]] = {}
    for section in SECTIONS:
        for kind, text in blocks(PAGE, section):
            awaited: set[str] = set()
            if "orders.predictions" in text:
                awaited = sent - {REFUSED}
                there(orders, "predictions", awaited)
            elif "orders.outcomes" in text:
                there(orders, "outcomes", set(LABELLED))
            elif "orders.deadletter" in text:
                there(orders, "deadletter", {REFUSED})
            else:
                sent |= ids(text)
            printed.setdefault(section, []).append((text, run(kind, here(text, orders), shell, output, awaited)))
    return printed


def test_every_block_of_the_page_is_run(outputs: dict[str, list[tuple[str, str]]]) -> None:
    """No block stands outside the sections that are run."""
    assert [text for told in outputs.values() for text, _ in told] == [text for _, text in blocks(PAGE)]


@pytest.mark.parametrize("section", SECTIONS)
def test_predictions_of_what_was_sent_are_read(outputs: dict[str, list[tuple[str, str]]], section: str) -> None:
    """Each client's consumer prints a prediction of every order sent up to there, its own section's among them."""
    told = [(text, output) for text, output in outputs[section] if "orders.predictions" in text]
    sent = ids(outputs[section][0][0])
    assert told
    assert all(sent <= ids(output) for _, output in told)
    assert "Traceback" not in "".join(output for _, output in outputs[section])


def test_no_record_took_a_second_hop(outputs: dict[str, list[tuple[str, str]]], orders: Pipeline) -> None:
    """Every client placed its keys where the pipeline looks for them."""
    totals = asyncio.run(orders.totals())["clean"]
    sent = {each for told in outputs.values() for text, _ in told if "events.raw" in text for each in ids(text)}
    assert (totals["events"], totals["labels"]) == (len(sent) - 1, len(LABELLED))
    assert totals.get("rekeyed_events", 0) + totals.get("rekeyed_labels", 0) == 0


def test_lag_outcomes_and_dead_letters_are_shown(outputs: dict[str, list[tuple[str, str]]], orders: Pipeline) -> None:
    """The group's lag by partition, the outcome of each label, and the reason of a dead letter are printed."""
    (lag,) = (output for text, output in outputs["## Kafka's console tools"] if "consumer-groups" in text)
    assert "LAG" in lag
    assert f"{orders.deployment.name}.events.raw" in lag
    (told,) = (output for text, output in outputs["## kcat"] if "orders.outcomes" in text)
    for name, label in LABELLED.items():
        assert re.search(rf'^{name} .*"state":"labelled","label":{label}', told, re.MULTILINE)
    (letter,) = (output for text, output in outputs["## kcat"] if "orders.deadletter" in text)
    assert f"{deadletter.RULE}=time_invalid" in letter


def test_the_page_names_the_right_partitions() -> None:
    """The ids by which somebody may check a client of their own lie where the page says."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    named = re.findall(r"`(A-\d+)` (?:belongs )?on\s+partition (\d)", text)
    assert {name: int(number) for name, number in named} == {
        name: partition(name.encode(), 4) for name in ("A-1001", "A-1003")
    }
