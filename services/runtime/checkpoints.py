"""Finding a lane's last checkpoint, however well an open transaction hides it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from schemas.state import Checkpoint
from services.domain.records import Incoming
from services.runtime import readback
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

_DECODER = msgspec.json.Decoder(Checkpoint)


class CheckpointError(OperatorError):
    """A checkpoint that this release cannot read."""


async def last(settings: Settings, topic: str, partition: int, key: bytes) -> Checkpoint | None:
    """The newest committed checkpoint with this key.

    The high watermark is asked of a read_uncommitted client: a read_committed one would answer with the last stable
    offset, below which a checkpoint may already be committed but hidden by another producer's open transaction.
    """
    newest = None
    async for batch in readback.everything(settings, topic, partition):
        for record in batch:
            if record.key == key:
                newest = record.value
    if newest is None:
        return None
    try:
        return _DECODER.decode(newest)
    except msgspec.MsgspecError as error:
        raise CheckpointError(
            f"the checkpoint {key.decode()} in {topic}/{partition} cannot be read ({error}): it was written by another "
            "release; run that release, or start anew with `rivermill reset`"
        ) from error


async def spilled(settings: Settings, topic: str, partition: int, prefix: bytes) -> AsyncIterator[list[Incoming]]:
    """The newest record of every key that begins with ``prefix``, tombstones left out, in lists.

    Reads the partition twice, so that never all of them are in memory. Nobody may write such keys meanwhile.
    """
    newest: dict[bytes, int] = {}
    first, last = await readback.bounds(settings, topic, partition)
    async for batch in readback.records(settings, topic, partition, first, last):
        for record in batch:
            if record.key and record.key.startswith(prefix):
                if record.value is None:
                    newest.pop(record.key, None)
                else:
                    newest[record.key] = record.offset
    wanted = set(newest.values())
    del newest
    if wanted:
        async for batch in readback.records(settings, topic, partition, min(wanted), last):
            yield [record for record in batch if record.offset in wanted]
