"""What is measured: two hops from a topic through a second into a third, by systems that share no process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.peers import kafka_streams
from bench.peers.rivermill import Pipeline
from schemas.topics import Topic

_READ_OR_WRITTEN = (
    "events.raw", "labels.raw", "rekeyed", "events.clean", "labels.clean", "predictions", "deadletter", "state.cleaning",
    "state.scoring",
)  # fmt: skip


@dataclass(frozen=True)
class System:
    """``delivery`` is a setting of Rivermill's; None for Kafka Streams, which copies."""

    name: str
    title: str
    delivery: str | None

    def hops(self, pipeline: Pipeline) -> list[Topic]:
        """The three topics, made alike for both."""
        topics = [pipeline.topic(stream) for stream in ("events.raw", "events.clean", "predictions")]
        if self.delivery:
            return topics
        return [msgspec.structs.replace(topic, name=f"bench.copied.{topic.stream}") for topic in topics]

    def made_anew(self, pipeline: Pipeline) -> list[Topic]:
        """The topics that a run begins with empty."""
        return [pipeline.topic(stream) for stream in _READ_OR_WRITTEN] if self.delivery else self.hops(pipeline)

    def commands(self, pipeline: Pipeline, folder: Path, run: str) -> list[tuple[list[str], Mapping[str, str]]]:
        """The processes to start, each with what is added to its environment."""
        if self.delivery:
            return [
                (pipeline.command(service), pipeline.environment(self.delivery)) for service in ("cleaning", "scoring")
            ]
        names = [topic.name for topic in self.hops(pipeline)]
        return [(kafka_streams.command(folder, pipeline.settings.broker, run, names), {})]


EXACTLY_ONCE = System("exactly-once", "Rivermill, exactly once", "exactly_once")
AT_LEAST_ONCE = System("at-least-once", "Rivermill, at least once", "at_least_once")
KAFKA_STREAMS = System("kafka-streams", "Kafka Streams copying, exactly once", None)
SYSTEMS = (EXACTLY_ONCE, AT_LEAST_ONCE, KAFKA_STREAMS)
