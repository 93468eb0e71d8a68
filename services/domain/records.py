"""What goes into a core and comes out of it: Kafka records without Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

Header = tuple[str, bytes]

MAX_VALUE_BYTES = 1024 * 1024 - 4096
"""The largest key + value + headers a core may send to a topic of ours; above that its input is a dead letter
``output_too_large`` (``deadletter`` and ``rekeyed`` take 64 KiB more than the raw topics, so originals fit)."""

NUMBER_MAX = 1e100
"""Numbers beyond this count as missing, and none stands in a pipeline file: squares of the others can be summed up."""
LARGEST = 1e150
"""Numbers from here on cannot be squared: none is scored with, learned from or measured."""


def json_bytes(text: str) -> int:
    """How many bytes a text takes in JSON, without its quotes: a control character takes six."""
    return len(msgspec.json.encode(text)) - 2


class Incoming(Protocol):
    """One Kafka record as a core reads it; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch: when the raw record came in."""

    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[Header]: ...  # noqa: D102


class Out(msgspec.Struct, array_like=True, gc=False):
    """One record to send."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: list[Header] = []


@dataclass(slots=True)
class Output:
    """What a batch leads to: records by (stream, partition), in order. Streams are named as in ``schemas.topics``."""

    sends: dict[tuple[str, int], list[Out]] = field(default_factory=dict)

    def to(self, stream: str, partition: int) -> list[Out]:
        """The list to append to for one stream and partition (hoist it out of loops)."""
        return self.sends.setdefault((stream, partition), [])

    def add(self, other: Output) -> None:
        """Append what another batch has led to."""
        for place, outs in other.sends.items():
            if place in self.sends:
                self.sends[place].extend(outs)
            else:
                self.sends[place] = outs


@dataclass(slots=True)
class Standing:
    """A core's part of its lane's checkpoint; ``data`` is JSON, at most ~60 KiB, the stage's own."""

    data: bytes = b"null"
    low_water: dict[str, int] = field(default_factory=dict)
    watermark: datetime | None = None
    snapshot: str | None = None
    control: int | None = None


class Core(Protocol):
    """A stage's pure part for one lane. One call for a whole batch; never raises for what a record holds."""

    totals: dict[str, int]
    """Running totals since the lane's beginning: they are checkpointed and restored, and public."""

    def process(self, batch: Sequence[Incoming], now: int) -> Output:
        """Handle records in order. ``now`` (ms since the epoch) is the wall clock at the batch's start."""

    def standing(self) -> Standing:
        """The core's part of the checkpoint after the last batch."""
