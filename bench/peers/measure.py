"""One measurement of one peer: started as a process of its own, watched from outside, its output read and compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bench import kafka
from bench.clock import cpu_seconds, machine_seconds
from bench.kafka import Ends
from bench.peers.catalogue import IN_MEMORY, Peer
from bench.peers.check import check
from bench.peers.session import PeerError, Session
from bench.processes import last_words
from bench.window import Measured, Sample, window

_SAMPLE_EVERY_S = 0.02
_STILL_S = 2.0
_NOTHING_NEW_S = 60.0


async def measure(session: Session, peer: Peer, run: str, processes: int = 1) -> Measured:
    """Run it on the whole input (a slow one: until it has done its share); PeerError when its output is not right.

    Several processes share the partitions; their CPU is added up.
    """
    if peer is IN_MEMORY:
        return await session.in_memory()
    settings, sink = session.pipeline.settings, session.sink(peer)
    made = [sink, session.pipeline.topic("state.scoring")] if peer.module == "rivermill" else [sink]
    await kafka.recreate(settings, made)
    started: list[asyncio.subprocess.Process] = []
    async with Ends(settings, sink.name, sink.partitions) as ends:
        try:
            for number in range(processes):
                command, env = session.command(peer, run, number)
                started.append(await session.processes.start(command, env, session.log(peer)))
            samples = await _watch(session, peer, started, ends)
        finally:
            await asyncio.gather(*map(session.processes.stop, started))
    records = await kafka.committed(settings, sink.name, sink.partitions)
    expected = session.events if peer.copies else session.predictions
    found = ((key, value) for partition in records.values() for _, key, value in partition)
    if not (verdict := check(expected, found, prefix=_partly(peer))).equal:
        raise PeerError(str(verdict))
    offsets = {partition: [offset for offset, _, _ in rows] for partition, rows in records.items()}
    return window(samples, offsets, *session.sizes.of(peer))


async def _watch(
    session: Session, peer: Peer, processes: Sequence[asyncio.subprocess.Process], ends: Ends
) -> list[Sample]:
    """Sample until all is written and committed, and nothing comes any more; a slow peer: until its share is there."""
    broker = session.broker.process
    wanted = sum(session.sizes.of(peer)) if _partly(peer) else session.sizes.total
    samples: list[Sample] = []
    moved = time.monotonic()
    while True:
        if broker is None or any(process.returncode is not None for process in processes):
            raise PeerError(f"it ended: {last_words(session.log(peer))}")
        now = Sample(
            time.monotonic(),
            sum(cpu_seconds(process.pid) for process in processes),
            cpu_seconds(broker.pid),
            machine_seconds(),
            await ends.appended(),
        )
        if samples and now.ends != samples[-1].ends:
            moved = now.at
        samples.append(now)
        done = sum(now.ends) >= wanted
        if done and (_partly(peer) or (now.at - moved > _STILL_S and await ends.stable() == now.ends)):
            return samples
        if now.at - moved > _NOTHING_NEW_S:
            raise PeerError(f"{sum(now.ends):,} of {wanted:,} records, and none for {_NOTHING_NEW_S:g} s")
        await asyncio.sleep(_SAMPLE_EVERY_S)


def _partly(peer: Peer) -> bool:
    """Whether it is stopped before it has read all."""
    return peer.share < 1.0
