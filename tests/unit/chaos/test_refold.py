"""The newest snapshots are compared with the log, folded anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec

from chaos.refold import Manifest, differences, refolded
from schemas.codec import encode
from schemas.examples import Record
from tests.unit.stream import control, examples, spec

KEY = b"a-signing-key-for-tests"
LOG: list[Record] = [control(spec()), *examples(150)]


async def records(log: Sequence[Record]) -> AsyncIterator[Any]:
    for offset, each in enumerate(log):
        yield SimpleNamespace(value=encode(each), offset=offset, timestamp=0)


def fold(log: Sequence[Record], offset: int) -> dict[str, Manifest]:
    return asyncio.run(refolded(records(log), offset, KEY))


def test_a_snapshot_of_the_log_is_found_right() -> None:
    """Folded up to its own offset, the log gives what the snapshot says, however much came after it."""
    published = fold(LOG[:120], 120)
    assert list(differences(published.values(), fold(LOG, 120))) == []


def test_a_snapshot_of_another_history_is_found_out() -> None:
    """One example left out, one learned twice, one with another label, or a candidate that the log does not know."""
    published = fold(LOG, 151)
    other = msgspec.structs.replace(LOG[60], label=not LOG[60].label)
    for altered in (LOG[:60] + LOG[61:], [*LOG[:61], *LOG[60:]], [*LOG[:60], other, *LOG[61:]]):
        assert len(list(differences(published.values(), fold(altered, len(altered))))) == len(published)
    assert len(list(differences(published.values(), {}))) == len(published)
