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
    opened = (snapshot.read(taken.blob, snapshot.sign(taken.blob, key), [key]) for taken in fold.snapshots())
    return {it.manifest.candidate.name: it.manifest for it in opened}


def differences(newest: Iterable[tuple[bytes, str]], again: Mapping[str, Manifest], key: bytes) -> Iterator[str]:
    """Where published snapshots (with their signatures) do not say to their canary events what the log says, folded anew.

    Each is opened, and its model loaded and asked, as scoring would.
    """
    for blob, signature in newest:
        try:
            opened = snapshot.read(blob, signature, [key])
            opened.part(0)
        except ValueError as error:
            yield str(error)
        else:
            yield from _unlike(opened.manifest, again.get(opened.manifest.candidate.name))


def _unlike(manifest: Manifest, anew: Manifest | None) -> Iterator[str]:
    what = f"candidate {manifest.candidate.name} at offset {manifest.examples_offset}"
    if len(manifest.canaries) < snapshot.CANARIES:
        yield f"{what} has {len(manifest.canaries)} canaries, fewer than {snapshot.CANARIES}"
    if anew is None or (anew.examples, anew.canaries) != (manifest.examples, manifest.canaries):
        told = "nothing" if anew is None else f"{anew.examples} examples and {len(anew.canaries)} canaries"
        yield (
            f"{what}: the log gives {told}, the snapshot has {manifest.examples} examples and "
            f"{len(manifest.canaries)} canaries, and they do not say the same"
        )
