"""Who takes part: what each system promises, how it is started, and how much of the input it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Delivery = Literal["exactly once", "at least once", "none"]


@dataclass(frozen=True)
class Peer:
    """One system. ``module`` is its file beside this one, ``options`` what it is started with beyond the usual.

    ``share`` of the input is measured and ``warm_up`` times the usual number of records come before: a slow one gets
    less, a JIT compiler more. ``needs`` is the package that it must find in the peers' environment. ``copies``: it
    writes what it reads.
    """

    name: str
    title: str
    delivery: Delivery
    module: str
    options: tuple[str, ...] = ()
    needs: str = ""
    share: float = 1.0
    warm_up: float = 1.0
    copies: bool = False


OURS = Peer("rivermill", "Rivermill scoring", "exactly once", "rivermill", ("exactly_once",))
OURS_AT_LEAST_ONCE = Peer(
    "rivermill-at-least-once", "Rivermill scoring", "at least once", "rivermill", ("at_least_once",)
)
IN_MEMORY = Peer("in-memory", "decode, River, encode in memory", "none", "in_memory", needs="river")
FAUST = Peer("faust", "Faust agent", "at least once", "faust_agent", needs="faust", share=0.07, warm_up=0.1)
FAUST_TAKE = Peer(
    "faust-take",
    "Faust agent, take(1000)",
    "at least once",
    "faust_agent",
    ("--take",),
    "faust",
    share=0.07,
    warm_up=0.1,
)
LOOP = Peer("aiokafka", "aiokafka loop", "at least once", "aiokafka_loop", needs="aiokafka")
QUIX = Peer("quix", "Quix Streams", "exactly once", "quix_streams", ("--exactly-once",), "quixstreams")
QUIX_AT_LEAST_ONCE = Peer("quix-at-least-once", "Quix Streams", "at least once", "quix_streams", needs="quixstreams")
BYTEWAX = Peer("bytewax", "Bytewax", "at least once", "bytewax_flow", needs="bytewax")
KAFKA_STREAMS = Peer(
    "kafka-streams", "Kafka Streams (Java), copying only", "exactly once", "kafka_streams", copies=True, warm_up=3.0
)

PEERS = (
    OURS, OURS_AT_LEAST_ONCE, IN_MEMORY, LOOP, BYTEWAX, QUIX, QUIX_AT_LEAST_ONCE, FAUST, FAUST_TAKE, KAFKA_STREAMS,
)  # fmt: skip
