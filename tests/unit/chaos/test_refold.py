"""The newest snapshots are compared with the log, folded anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec

from chaos.refold import differences, refolded
from schemas.codec import encode
from schemas.examples import Record
from services.domain import snapshot
from services.learner.core.fold import Fold
from tests.unit.stream import control, examples, spec

KEY = b"a-signing-key-for-tests"
LOG: list[Record] = [control(spec()), *examples(150)]


async def records(log: Sequence[Record]) -> AsyncIterator[Any]:
    for offset, each in enumerate(log):
        yield SimpleNamespace(value=encode(each), offset=offset, timestamp=0)


def compared(published: Sequence[bytes], log: Sequence[Record], offset: int) -> list[str]:
    """What is found when snapshots are held against a log that is folded up to this offset."""
    again = asyncio.run(refolded(records(log), offset, KEY))
    return list(differences([(blob, snapshot.sign(blob, KEY)) for blob in published], again, KEY))


def snapshots(log: Sequence[Record]) -> list[bytes]:
    fold = Fold()
    for offset, each in enumerate(log):
        fold.apply(each, offset)
    return [taken.blob for taken in fold.snapshots()]


def test_a_snapshot_of_the_log_is_found_right() -> None:
    """Folded up to its own offset, the log gives what the snapshot says, however much came after it."""
    assert compared(snapshots(LOG[:120]), LOG, 120) == []


def test_a_snapshot_of_another_history_is_found_out() -> None:
    """One example left out, one learned twice, one with another label, or a candidate that the log does not know."""
    published = snapshots(LOG)
    other = msgspec.structs.replace(LOG[60], label=not LOG[60].label)
    for altered in (LOG[:60] + LOG[61:], [*LOG[:61], *LOG[60:]], [*LOG[:60], other, *LOG[61:]]):
        assert len(compared(published, altered, len(altered))) == len(published)
    signed = [(blob, snapshot.sign(blob, KEY)) for blob in published]
    assert len(list(differences(signed, {}, KEY))) == len(published)


def test_a_snapshot_with_another_model_is_found_out() -> None:
    """Its canaries say what the log says; the model that it holds does not, and scoring would load that."""
    before, after = (
        [snapshot.read(blob, snapshot.sign(blob, KEY), [KEY]) for blob in snapshots(log)] for log in (LOG[:120], LOG)
    )
    changed = [snapshot.write(new.manifest, new.shared, old.payload) for old, new in zip(before, after, strict=True)]
    assert len(compared(changed, LOG, len(LOG))) == len(changed)


def test_a_snapshot_of_an_empty_log_proves_nothing() -> None:
    """A learner that published its first version and no other is compared by no canary: that is told."""
    published = snapshots(LOG[:1])
    assert len(compared(published, LOG, 1)) == len(published)


def test_a_signature_of_another_key_is_found_out() -> None:
    """What scoring would refuse is no snapshot here."""
    published = snapshots(LOG)
    again = asyncio.run(refolded(records(LOG), len(LOG), KEY))
    assert len(list(differences([(blob, "00" * 32) for blob in published], again, KEY))) == len(published)
