"""A lane's inputs, merged in order of Kafka timestamp (KIP-695: an input without records is waited for)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from services.domain.records import Incoming


def merge(buffers: Sequence[deque[Incoming]], exhausted: Sequence[bool], limit: int) -> list[Incoming]:
    """Take at most ``limit`` records off the buffers' left ends, the least Kafka timestamp first.

    ``buffers`` are in rank order: of equal timestamps the lower index goes first. Order within one input is
    always kept, even where its timestamps go back. An empty buffer stops the merge unless its input is
    ``exhausted``: read up to the last stable offset known for it. So for given logs the merged order does not
    depend on how they were fetched. An input that is to be passed over (a paused one) is given as an empty,
    exhausted one.
    """
    merged: list[Incoming] = []
    while len(merged) < limit:
        if any(not buffer and not done for buffer, done in zip(buffers, exhausted, strict=True)):
            break
        heads = sorted((buffer[0].timestamp, rank) for rank, buffer in enumerate(buffers) if buffer)
        if not heads:
            break
        _take_run(buffers[heads[0][1]], heads, merged, limit)
    return merged


def _take_run(buffer: deque[Incoming], heads: list[tuple[int, int]], merged: list[Incoming], limit: int) -> None:
    """Take from the input whose head is least for as long as its next record stays the least."""
    if len(heads) == 1:
        while buffer and len(merged) < limit:
            merged.append(buffer.popleft())
        return
    rank = heads[0][1]
    until = heads[1]
    while buffer and len(merged) < limit and (buffer[0].timestamp, rank) < until:
        merged.append(buffer.popleft())
