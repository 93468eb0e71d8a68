"""From a command line to a running service: the pipeline file, the settings, the topics."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from schemas.acls import Grant, grants
from schemas.topics import Topic, topic_name, topics
from services.domain.spec import Spec, SpecError, duration, parse, spec_hash
from services.runtime import clients, history, readback, rights
from services.runtime import topics as kafka_topics
from services.runtime.settings import Settings, from_environment
from services.runtime.stage import Opener, Stage

_MILLISECOND = timedelta(milliseconds=1)
_READ_S = 60
"""Longer than any transaction can stay open before Kafka ends it; aiokafka would wait for a broker for ever."""
_EPILOG = """
settings come from the environment: RIVERMILL_BROKER (host:port), RIVERMILL_REGISTRY_URL, RIVERMILL_SIGNING_KEY,
RIVERMILL_DATA_DIR, RIVERMILL_DELIVERY (exactly_once | at_least_once), RIVERMILL_SLOT (stable name of this process, for
static membership), RIVERMILL_BIND and RIVERMILL_WEB_PORT (/metrics, /healthz, /readyz), RIVERMILL_SECURITY_PROTOCOL,
RIVERMILL_SASL_* and RIVERMILL_SSL_*. A secret may be in a file: append _FILE to its name.
"""


@dataclass(frozen=True)
class Deployment:
    """A pipeline file and the settings of one process, and what follows from the two."""

    spec: Spec
    settings: Settings

    @property
    def name(self) -> str:
        """The pipeline's name: the prefix of its topics and groups."""
        return self.spec.pipeline.name

    @property
    def partitions(self) -> int:
        """The pipeline's N."""
        return self.spec.topics.partitions

    @cached_property
    def spec_hash(self) -> str:
        """Hash of the pipeline file's canonical form."""
        return spec_hash(self.spec)

    def topic(self, stream: str) -> str:
        """Full topic name of a stream."""
        return topic_name(self.name, stream)

    @property
    def events_topic(self) -> str:
        """The raw events: the producer's own topic, or ours."""
        return self.spec.event.topic or self.topic("events.raw")

    @property
    def labels_topic(self) -> str:
        """The raw labels: the producer's own topic, or ours."""
        return self.spec.label.topic or self.topic("labels.raw")

    def table(self) -> list[Topic]:
        """The topics that this pipeline owns: those of ours that a producer's own replace are left out."""
        return [topic for topic in self._whole_table() if topic.stream not in self._foreign]

    def grants(self) -> list[Grant]:
        """What Kafka must let each role do, a producer's own raw topics included."""
        foreign = self._foreign
        named = [
            msgspec.structs.replace(topic, name=foreign.get(topic.stream, topic.name)) for topic in self._whole_table()
        ]
        return grants(self.name, named)

    @property
    def _foreign(self) -> dict[str, str]:
        """A producer's own raw topics by the stream of ours that they replace."""
        own = {"events.raw": self.spec.event.topic, "labels.raw": self.spec.label.topic}
        return {stream: topic for stream, topic in own.items() if topic}

    def _whole_table(self) -> Sequence[Topic]:
        return topics(
            self.name,
            self.partitions,
            duration(self.spec.topics.retention) // _MILLISECOND,
            duration(self.spec.label.horizon) // _MILLISECOND,
            self.settings.replication,
        )

    def stage(self, service: str, name: str, counts: Mapping[str, int], opener: Opener, **more: Any) -> Stage:
        """A stage of this pipeline; ``counts`` has the partitions of its inputs by full topic name."""
        return Stage(
            service=service,
            name=name,
            pipeline=self.name,
            partitions=self.partitions,
            counts=counts,
            open=opener,
            settings=self.settings,
            **more,
        )

    async def ensure_topics(self) -> dict[str, int]:
        """Create and check the topics; the partitions of each by full name."""
        return await kafka_topics.ensure(self.settings, self.table(), list(self._foreign.values()))

    async def prepare(self, service: str = "") -> dict[str, int]:
        """:meth:`ensure_topics`, and SettingsError for rights that ``service`` lacks, or for a pipeline file that what
        lies in the topics cannot go on under.
        """
        counts = await self.ensure_topics()
        if service:
            await rights.require(self.settings, [it for it in self.grants() if it.role == service])
        async with clients.told(self.settings), asyncio.timeout(_READ_S):
            before = await history.in_force(self.settings, self.name)
        history.require_allowed(before, self.spec)
        return counts

    async def newest(self, topics: Iterable[str]) -> dict[str, int]:
        """Where the newest committed record of each topic of one partition lies, tombstones left out; -1: nowhere."""
        offsets = {}
        async with clients.told(self.settings), asyncio.timeout(_READ_S):
            for topic in topics:
                found = await readback.newest(self.settings, topic, 0, lambda record: record.value is not None, 10)
                offsets[topic] = -1 if found is None else found.offset
        return offsets


def load(path: Path) -> Spec:
    """Read and validate a pipeline file; SpecError says what is wrong and where."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the pipeline file {path} cannot be read: {error}") from error
    return parse(text, str(path))


def arguments(service: str, description: str) -> argparse.ArgumentParser:
    """The command line that every Kafka service has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service}",
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pipeline", required=True, type=Path, metavar="PIPELINE.toml", help="the pipeline file")
    return parser


def deployment(path: Path) -> Deployment:
    """Pipeline file and settings together; raises SpecError or SettingsError."""
    return Deployment(load(path), from_environment(os.environ))
