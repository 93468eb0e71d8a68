"""What is connected to what in the learner: stage ``join`` keeps the label ledger, the fold ``train`` learns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from schemas.state import Checkpoint
from services.domain import catalogue
from services.learner.joining import open_join
from services.learner.training import open_train
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryClient
from services.runtime.snapshots import SnapshotCache
from services.runtime.stage import Driver, Stage
from services.runtime.worker import Handler

ROLES = ("all", "join", "train")


def wire(
    deployment: Deployment, counts: dict[str, int], role: str = "all", *, refold: bool = False
) -> tuple[Sequence[Stage], Mapping[str, Handler]]:
    """The stages of one role; the learner follows no control topic. With ``refold`` no snapshot is restored."""
    return [
        *([_join(deployment, counts)] if role in ("all", "join") else []),
        *([_train(deployment, counts, refold=refold)] if role in ("all", "train") else []),
    ], {}


def _join(deployment: Deployment, counts: dict[str, int]) -> Stage:
    inputs = {deployment.topic(stream): counts[deployment.topic(stream)] for stream in ("predictions", "labels.clean")}
    return deployment.stage("learner", "join", inputs, partial(open_join, deployment))


def _train(deployment: Deployment, counts: dict[str, int], *, refold: bool) -> Stage:
    settings = deployment.settings
    _ = settings.signing_keys  # a learner that cannot sign is told so at its start
    candidates = deployment.spec.model.candidates
    catalogue.prepare(it for it in candidates if it.factory)  # whoever wrote it may expect the main thread
    warm = partial(catalogue.prepare, candidates)

    async def open_fold(lane: int, checkpoint: Checkpoint | None) -> Driver:  # noqa: ARG001 - a fold has one lane
        await asyncio.to_thread(warm)
        client = RegistryClient(settings.registry_url, token=settings.registry_token, actor="learner")
        cache = SnapshotCache(settings.folder("snapshots", deployment.name), client)
        return await open_train(deployment, client, cache, checkpoint, refold=refold)

    examples = deployment.topic("examples")
    return deployment.stage("learner", "train", {examples: counts[examples]}, open_fold, warm=warm)
