"""The script through the stages' own cores, without Kafka: nothing that they do with it is a violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import msgspec
import pytest

from chaos import ledger, script
from chaos.facts import TAKE, Facts
from chaos.verdict import Verdict
from schemas.state import Checkpoint
from services.cli.offline import Offline, Record
from services.domain import murmur
from services.domain.records import Core
from services.domain.spec import parse

EVENTS = 1400
STAMP_EVERY_MS = 2


@pytest.fixture(scope="module")
def told() -> Facts:
    """What a run without faults leaves in the topics."""
    facts = Facts()
    offline = Offline(parse(script.FILE), observe=lambda stream, record: take(facts, stream, record))
    offsets: Counter[tuple[str, int]] = Counter()
    stamps = count(1_700_000_000_000, STAMP_EVERY_MS)
    for (kind, key, value), stamp in zip(sends(), stamps, strict=False):
        lane = 0 if key is None else murmur.partition(key, script.PARTITIONS)
        raw = Record(f"{script.PIPELINE}.{kind}.raw", lane, offsets[kind, lane], stamp, key, value)
        offsets[kind, lane] += 1
        take(facts, f"{kind}.raw", raw)
        offline.feed("event" if kind == "events" else "label", key, value, stamp)
    stages: dict[str, Sequence[Core]] = {
        "clean": offline.cleans, "score": offline.scores, "join": offline.joins, "train": [offline.train],
    }  # fmt: skip
    for stage, cores in stages.items():
        for lane, core in enumerate(cores):
            facts.checkpoints[stage, lane] = Checkpoint(
                stage, lane, {}, {}, None, dict(core.totals), None, msgspec.Raw(b"null")
            )
    return facts


def take(facts: Facts, stream: str, record: Record) -> None:
    if stream in TAKE:
        TAKE[stream](facts, record)


def sends() -> Iterator[script.Send]:
    given = script.Script(11)
    yield from given.take(EVENTS // 2)
    yield from given.poison(300, 1)
    yield from given.take(EVENTS // 2)
    yield from given.rest()
    yield from given.closing()


def test_what_the_cores_do_with_the_script_violates_nothing(told: Facts) -> None:
    """Late events, foreign keys, early, late, doubled and changed labels and poison: every check holds."""
    found = Verdict(told, script.PIPELINE, script.CLOSING).violations()
    found |= {what: list(check(told)) for what, check in ledger.CHECKS.items()}
    assert {what: violations for what, violations in found.items() if violations} == {}
    states = Counter(it.outcome.state for it in told.outcomes)
    assert states.keys() == {"labelled", "corrected", "duplicate", "superseded", "expired", "orphan"}
    assert len(told.dead) == 300


def test_most_labels_would_be_missed(told: Facts) -> None:
    """Of the labels that answered, made orphans, most are found out: not all came so early that they must have been read."""
    answered = [it for it in told.outcomes if it.outcome.state == "labelled"]
    orphans = [
        msgspec.structs.replace(it, outcome=msgspec.structs.replace(it.outcome, state="orphan")) for it in answered
    ]
    lost = msgspec.structs.replace(told, outcomes=orphans)
    assert len(list(ledger.in_time(lost))) > 0.6 * len(orphans)
