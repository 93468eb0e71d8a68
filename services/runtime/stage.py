"""What a service tells the runtime of one of its stages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from schemas.state import Checkpoint
from schemas.topics import topic_name
from services.domain.records import Core, Incoming, Output, Standing
from services.runtime.settings import Settings
from services.runtime.transactions import Place


class Driver:
    """A core on its lane. The defaults serve a core that only turns input into output.

    The lane calls, in this order: ``ready`` once, then again and again ``idle`` and, when something was fetched,
    ``process``; after each commit ``committed``.
    """

    idle_every_ms = 200
    """How long the lane waits for input before it asks ``idle`` again."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def ready(self) -> None:
        """Wait until the core can work; the lane is healthy, but fetches nothing before."""

    def process(self, batch: Sequence[Incoming], now: int) -> Output:
        """Handle a batch, in order; ``now`` is the wall clock in milliseconds."""
        return self.core.process(batch, now)

    async def idle(self, now: int, positions: Mapping[str, int]) -> Output | None:  # noqa: ARG002 - for overriding
        """Effects without input (live parameters, expiries); ``positions`` are the next offsets by full topic name."""
        return None

    def standing(self) -> Standing:
        """The driver's part of the checkpoint: its core's."""
        return self.core.standing()

    def committed(self, ends: Mapping[Place, int]) -> None:
        """Told after each commit: for each place written, an offset at or below its newest record."""

    def blocked(self) -> frozenset[str]:
        """Full names of the input topics that a bound keeps from being read now."""
        return frozenset()

    def report(self) -> None:
        """Set the stage's own gauges; called after commits, at most once a second."""

    async def close(self) -> None:
        """The lane has ended."""


Opener = Callable[[int, Checkpoint | None], Awaitable[Driver]]
"""Makes and restores the driver of one lane from its last checkpoint (None: it never ran)."""


@dataclass(frozen=True)
class Stage:
    """One stage of a service.

    ``counts`` has the partitions of each input topic by its full name, in the order that breaks ties of the Kafka
    timestamp. ``open`` restores a lane. ``partitions`` is the pipeline's N: checkpoints of lane p lie in partition p mod N.
    ``every_ms`` is the least time from one batch to the next: a stage that nobody waits for leaves the broker's
    transactions to those that are waited for. ``ahead``: where more lies ahead, the core works on a batch while the last one
    is being committed; what it does must not depend on how the commit went. ``warm`` runs once, in a thread, when the lanes of
    the first assignment run, if there are any: it imports what takes seconds, for lanes that come later.
    """

    service: str
    name: str
    pipeline: str
    partitions: int
    counts: Mapping[str, int]
    open: Opener
    settings: Settings
    max_batch: int = 4000
    delivery: str = "exactly_once"
    every_ms: int = 0
    ahead: bool = False
    warm: Callable[[], None] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Full names of the input topics."""
        return tuple(self.counts)

    @property
    def group(self) -> str:
        """Consumer group and prefix of the transactional ids."""
        return f"{self.pipeline}.{self.service}.{self.name}"

    @property
    def state_topic(self) -> str:
        """Full name of the service's compacted state topic."""
        return topic_name(self.pipeline, f"state.{self.service}")

    def checkpoint_key(self, lane: int) -> bytes:
        """``<stage>/<lane>``."""
        return f"{self.name}/{lane}".encode()
