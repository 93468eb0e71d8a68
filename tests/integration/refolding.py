"""Checking published snapshots against the log that they were learned from."""

from __future__ import annotations

from chaos import reader, refold
from services.domain import snapshot
from services.domain.registry_api import Version
from tests.integration.pipelines import KEY, Pipeline


async def read_version(pipeline: Pipeline, version: Version) -> snapshot.Snapshot:
    """A version's snapshot as the registry has it, opened."""
    async with pipeline.registry() as registry:
        blob = await registry.snapshot(pipeline.deployment.name, version.version, version.sha256)
    return snapshot.read(blob, version.signature, [KEY.encode()])


async def refolded(pipeline: Pipeline, version: Version) -> snapshot.Manifest:
    """What a snapshot says of itself that is made anew, from the log's start up to the version's offset."""
    deployment = pipeline.deployment
    examples = reader.read(deployment.settings.broker, deployment.topic("examples"), 1)
    return (await refold.refolded(examples, version.examples_offset, KEY.encode()))[version.candidate]
