"""Folding ``examples`` anew from their start: the one check that uses the services' own code, the fold it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from schemas.examples import Record
from services.domain import snapshot
from services.learner.core.fold import Fold

Manifest = snapshot.Manifest


async def refolded(examples: AsyncIterator[Any], offset: int, key: bytes) -> dict[str, Manifest]:
    """What snapshots say of themselves, by candidate, that are made anew from the log's start up to ``offset``."""
    decode = msgspec.json.Decoder(Record).decode
    fold = Fold()
    async for record in examples:
        if record.offset < offset:
            fold.apply(decode(record.value), record.offset, record.timestamp)
    return {taken.candidate: published(taken.blob, snapshot.sign(taken.blob, key), key) for taken in fold.snapshots()}


def published(blob: bytes, signature: str, key: bytes) -> Manifest:
    """What a published snapshot says of itself."""
    return snapshot.read(blob, signature, [key]).manifest


def differences(newest: Iterable[Manifest], again: Mapping[str, Manifest]) -> Iterator[str]:
    """Where published snapshots say another thing to their canary events than the same log, folded anew."""
    for manifest in newest:
        candidate = manifest.candidate.name
        anew = again.get(candidate)
        if anew is None or (anew.examples, anew.canaries) != (manifest.examples, manifest.canaries):
            told = "nothing" if anew is None else f"{anew.examples} examples and {len(anew.canaries)} canaries"
            yield (
                f"candidate {candidate} at offset {manifest.examples_offset}: the log gives {told}, the snapshot has "
                f"{manifest.examples} examples and {len(manifest.canaries)} canaries, and they do not say the same"
            )
