"""Checking published snapshots against the log that they were learned from."""

from __future__ import annotations

import msgspec

from schemas.examples import Record
from services.domain import snapshot
from services.domain.registry_api import Version
from services.learner.core.fold import Fold
from tests.integration.pipelines import KEY, Pipeline


async def read_version(pipeline: Pipeline, version: Version) -> snapshot.Snapshot:
    """A version's snapshot as the registry has it, opened."""
    async with pipeline.registry() as registry:
        blob = await registry.snapshot(pipeline.deployment.name, version.version, version.sha256)
    return snapshot.read(blob, version.signature, [KEY.encode()])


async def refolded(pipeline: Pipeline, version: Version) -> snapshot.Manifest:
    """What a snapshot says of itself that is made anew, from the log's start up to the version's offset."""
    decode = msgspec.json.Decoder(Record).decode
    fold = Fold()
    for record in await pipeline.records("examples"):
        if record.offset < version.examples_offset:
            fold.apply(decode(record.value), record.offset, record.timestamp)
    taken = next(it for it in fold.snapshots() if it.candidate == version.candidate)
    return snapshot.read(taken.blob, snapshot.sign(taken.blob, KEY.encode()), [KEY.encode()]).manifest
