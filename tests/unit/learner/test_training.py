from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.domain import snapshot
from services.learner.core.fold import Fold
from services.learner.training import Data, Kept, restored_fold
from services.runtime.launch import Deployment
from services.runtime.registry_client import RegistryClient
from services.runtime.settings import Settings, SettingsError
from services.runtime.snapshots import SnapshotCache
from tests.unit.stream import control, examples, spec

KEY, OLD = b"k" * 32, b"o" * 32


def restored(folder: Path, signed_with: bytes, previous: bytes | None = None) -> Fold:
    """What a learner with this previous key makes of snapshots that lie in its cache."""
    fold = Fold()
    for offset, record in enumerate([control(spec()), *examples(20)]):
        fold.apply(record, offset)
    settings = Settings(registry_url="http://127.0.0.1:1", signing_key=KEY, signing_key_previous=previous)

    async def run() -> Fold:
        cache = SnapshotCache(folder, RegistryClient(settings.registry_url))
        kept = {
            it.candidate: Kept(version, await cache.put(it.blob), snapshot.sign(it.blob, signed_with))
            for version, it in enumerate(fold.snapshots(), 1)
        }
        return await restored_fold(Deployment(spec(), settings), cache, Data(kept))

    return asyncio.run(run())


def test_a_learner_goes_on_with_what_either_key_has_signed(tmp_path):
    """While a signing key is changed, snapshots of the one before restore the fold."""
    assert restored(tmp_path, KEY).offset == 21
    assert restored(tmp_path, OLD, previous=OLD).offset == 21


def test_a_learner_with_another_key_says_what_to_do(tmp_path):
    """It does not fold anew by itself, for scoring would refuse all that it signs."""
    with pytest.raises(SettingsError, match=r"RIVERMILL_SIGNING_KEY_PREVIOUS to the key before.*--refold"):
        restored(tmp_path, OLD)
