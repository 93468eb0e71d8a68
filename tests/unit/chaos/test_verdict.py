"""Each check finds nothing in a log that is whole, and finds each way of breaking it: none is blind."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from chaos.facts import Facts, Item, Learned, Told
from chaos.ledger import CHECKS as LEDGER_CHECKS
from chaos.registry import CHECKS as REGISTRY_CHECKS
from chaos.registry import Alias, Registry
from chaos.verdict import CHECKS, Verdict
from tests.unit.chaos.altered import (
    all_refused,
    dead,
    examples_exchanged,
    good_refused,
    label_orphaned,
    label_taken_for_another,
    outcomes_reversed,
    paired_crosswise,
)
from tests.unit.chaos.whole import (
    CLOSING,
    PIPELINE,
    alert,
    at,
    checkpoint,
    facts,
    label,
    record,
    registry,
    told,
    version,
)

EVENTS, LABELS, DEAD, PREDICTIONS, ORDER, OUTCOMES, LABEL_OUTCOMES, EXAMPLES, ALERTS, INCIDENTS, TOTALS = CHECKS
PAIRS, SERVED, IN_TIME, LEDGER_ORDER = LEDGER_CHECKS
REPLAYS, TELLS, BLOBS, OFFSETS, RECENT = REGISTRY_CHECKS
Broken = Callable[[Facts], object]
BREAKS: list[tuple[str, str, Broken]] = [
    (EVENTS, "an event lost", lambda it: it.events.pop(1)),
    (EVENTS, "an event twice", lambda it: it.events.append(Item(0, 99, "b"))),
    (EVENTS, "an event twice, on two partitions", lambda it: it.events.append(Item(1, 0, "b"))),
    (EVENTS, "an event from nowhere", lambda it: it.events.append(Item(0, 99, "x"))),
    (EVENTS, "a duplicate not counted", lambda it: it.checkpoints.update([checkpoint("clean", 0, events=4, labels=3)])),
    (EVENTS, "a duplicate swallowed", lambda it: it.raw_events.append(Item(0, 9, "b"))),
    (EVENTS, "a poisoned event swallowed", lambda it: it.dead.pop(0)),
    (EVENTS, "dead letter and clean event of one record", lambda it: it.dead.append(dead("events.raw", 0, 2))),
    (LABELS, "a label lost", lambda it: it.labels.pop()),
    (LABELS, "a label twice", lambda it: it.labels.append(Item(0, 99, "a", at(1)))),
    (LABELS, "a label with another time", lambda it: it.labels.append(Item(0, 99, "a", at(9)))),
    (LABELS, "a label with another value", lambda it: it.labels.__setitem__(2, label(0, 22, "c", 3, value=False))),
    (LABELS, "a poisoned label swallowed", lambda it: it.dead.pop(1)),
    (DEAD, "a dead letter twice", lambda it: it.dead.append(it.dead[0])),
    (DEAD, "a dead letter of nothing", lambda it: it.dead.append(dead("events.raw", 3, 7))),
    (DEAD, "a dead letter by another rule", lambda it: it.dead.__setitem__(0, dead("events.raw", 0, 3, "unexpected"))),
    (DEAD, "a dead letter twice, by another rule", lambda it: it.dead.append(dead("events.raw", 0, 3, "unexpected"))),
    (DEAD, "a dead letter of another stage", lambda it: it.dead.append(dead("events.raw", 0, 3, stage="score"))),
    (DEAD, "a good event refused", good_refused),
    (DEAD, "everything refused by scoring", all_refused),
    (PREDICTIONS, "a prediction lost", lambda it: it.predictions.pop()),
    (PREDICTIONS, "a prediction twice", lambda it: it.predictions.append(Item(0, 99, "c", at(0)))),
    (PREDICTIONS, "a prediction on another partition", lambda it: it.predictions.__setitem__(1, Item(1, 0, "b", at(0)))),
    (ORDER, "events of a partition out of order", lambda it: swap(it.events, 0, 1)),
    (ORDER, "predictions out of order", lambda it: swap(it.predictions, 0, 2)),
    (ORDER, "labels of one event out of order", lambda it: swap(it.labels, 0, 1)),
    (OUTCOMES, "a prediction without an end", lambda it: it.outcomes.pop(2)),
    (OUTCOMES, "a prediction labelled and expired", lambda it: it.outcomes.append(told(99, "a", "expired", (30, None)))),
    (OUTCOMES, "a prediction expired twice", lambda it: it.outcomes.append(told(99, "b", "expired", (31, None)))),
    (OUTCOMES, "a closing event expired twice", lambda it: it.outcomes.extend([told(98, f"{CLOSING}1", "expired", (33, None))] * 2)),
    (OUTCOMES, "an outcome of no prediction", lambda it: it.outcomes.append(told(99, "z", "expired", (77, None)))),
    (LABEL_OUTCOMES, "a label without an outcome", lambda it: it.outcomes.pop(1)),
    (LABEL_OUTCOMES, "a label with two", lambda it: it.outcomes.append(told(99, "a", "duplicate", (30, 20), 1))),
    (LABEL_OUTCOMES, "an outcome of no label", lambda it: it.outcomes.append(told(99, "a", "orphan", (None, 77), 1))),
    (EXAMPLES, "an example lost", lambda it: it.examples.pop()),
    (EXAMPLES, "an example twice", lambda it: it.examples.append(it.examples[0])),
    (EXAMPLES, "an example with another label", lambda it: it.examples.__setitem__(0, Learned(1, "a", at(1), False, None))),
    (EXAMPLES, "a correction that corrects nothing", lambda it: it.examples.__setitem__(1, Learned(2, "a", at(2), False, None))),
    (PAIRS, "labels given to each other's predictions", paired_crosswise),
    (PAIRS, "an outcome under another id", lambda it: it.outcomes.__setitem__(0, told(40, "c", "labelled", (30, 20), 1))),
    (PAIRS, "a label's outcome of another time", lambda it: it.outcomes.__setitem__(0, told(40, "a", "labelled", (30, 20), 2))),
    (PAIRS, "a label's outcome with another value", lambda it: it.labels.__setitem__(2, label(0, 22, "c", 3, value=False))),
    (PAIRS, "an expiry at another time than the deadline", lambda it: it.outcomes.__setitem__(2, told(42, "b", "expired", (31, None), 19))),
    (SERVED, "an example of another prediction", lambda it: it.examples.__setitem__(2, Learned(3, "c", at(3), True, None, served=1))),
    (SERVED, "a correction of what was not learned", lambda it: it.examples.__setitem__(1, Learned(2, "a", at(2), False, False))),
    (IN_TIME, "a label in time that is an orphan", label_orphaned),
    (IN_TIME, "a label in time that is told as a repeat", label_taken_for_another),
    (IN_TIME, "a correction in time that is an orphan", lambda it: it.outcomes.__setitem__(1, told(41, "a", "orphan", (30, 21), 2))),
    (LEDGER_ORDER, "outcomes of a key out of order", outcomes_reversed),
    (LEDGER_ORDER, "examples out of order", examples_exchanged),
    (ALERTS, "an alert twice", lambda it: it.alerts.append(it.alerts[3])),
    (INCIDENTS, "an incident that opens twice", lambda it: it.alerts.append(alert(2, "opened", "j"))),
    (INCIDENTS, "an incident that never opened", lambda it: it.alerts.append(alert(1, "updated", "k"))),
    (INCIDENTS, "an incident resolved twice", lambda it: it.alerts.append(alert(4, "resolved"))),
    (INCIDENTS, "an incident updated after its end", lambda it: it.alerts.append(alert(4, "updated"))),
    (INCIDENTS, "a resolution of an open incident", lambda it: it.alerts.append(msgspec.structs.replace(alert(2, "updated", "j"), resolution="recovered"))),
    (TOTALS, "a total that is wrong", lambda it: it.checkpoints.update([checkpoint("score", 0, predictions=5)])),
    (TOTALS, "a lane that left no checkpoint", lambda it: it.checkpoints.pop(("join", 0))),
]  # fmt: skip
REGISTRY_BREAKS: list[tuple[str, str, Callable[[Registry, Facts], object]]] = [
    (REPLAYS, "an alias that the log does not know", lambda it, _: it.aliases.update(x=it.aliases["champion"])),
    (REPLAYS, "an alias that is gone", lambda it, _: it.aliases.clear()),
    (REPLAYS, "another candidate", lambda it, _: it.log.append(Alias("champion", "second", 1, live=True, revision=2))),
    (REPLAYS, "a pinned version that moved", lambda it, _: pinned(it, 1)),
    (REPLAYS, "an alias that went back", lambda it, _: it.log.append(Alias("champion", "first", 3, live=True, revision=2))),
    (REPLAYS, "a log out of order", lambda it, _: it.log.append(it.log[0])),
    (TELLS, "a decision not told", lambda _, facts: facts.aliases.clear()),
    (TELLS, "an older version told", lambda _, facts: facts.aliases.update(champion=record(1))),
    (TELLS, "a pin not told", lambda _, facts: facts.aliases.update(champion=record(2, live=False))),
    (BLOBS, "a blob missing", lambda it, _: it.blobs.clear()),
    (BLOBS, "a blob cut short", lambda it, _: it.blobs.update(blob2=9)),
    (BLOBS, "a blob altered", lambda it, _: it.damaged.append("blob2")),
    (BLOBS, "an alias of a thinned version", lambda it, _: it.versions.update({2: version(2, "thinned")})),
    (BLOBS, "a record of a version that is not there", lambda _, facts: facts.aliases.update(champion=record(9))),
    (OFFSETS, "a snapshot of records that are not there", lambda it, _: it.versions.update({2: version(2, offset=5)})),
    (RECENT, "a candidate that was published once", lambda it, _: it.versions.pop(6)),
    (RECENT, "a candidate that was never published", lambda it, _: [it.versions.pop(5), it.versions.pop(6)]),
    (RECENT, "examples that no snapshot has seen", lambda _, facts: facts.examples.extend([facts.examples[-1]] * 1000)),
]  # fmt: skip


def swap(items: list[Item], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]


def pinned(it: Registry, version: int) -> None:
    it.log.append(Alias("champion", "first", version, live=False, revision=4))
    it.aliases["champion"] = Alias("champion", "first", 2, live=False, revision=5)


def found(broken: Facts) -> set[str]:
    violations = Verdict(broken, PIPELINE, CLOSING).violations()
    violations |= {check: list(violated(broken)) for check, violated in LEDGER_CHECKS.items()}
    return {check for check, each in violations.items() if each}


def test_a_whole_log_violates_nothing() -> None:
    """Where each record is in its place once, no check has anything to say."""
    assert found(facts()) == set()
    assert [told for check in REGISTRY_CHECKS.values() for told in check(registry(), facts())] == []


@pytest.mark.parametrize(("check", "what", "spoil"), BREAKS, ids=[what for _, what, _ in BREAKS])
def test_a_broken_log_is_found_out(check: str, what: str, spoil: Broken) -> None:
    """The check that is there for it names at least one violation."""
    broken = facts()
    spoil(broken)
    assert check in found(broken), what


@pytest.mark.parametrize(("check", "what", "spoil"), REGISTRY_BREAKS, ids=[what for _, what, _ in REGISTRY_BREAKS])
def test_a_broken_registry_is_found_out(check: str, what: str, spoil: Callable[[Registry, Facts], object]) -> None:
    """The check that is there for it names at least one violation."""
    told, read = registry(), facts()
    spoil(told, read)
    assert list(REGISTRY_CHECKS[check](told, read)), what


def test_every_check_has_a_log_that_violates_it() -> None:
    """No check is without a test that it can fail."""
    assert {check for check, _, _ in BREAKS} == set(CHECKS) | set(LEDGER_CHECKS)
    assert {check for check, _, _ in REGISTRY_BREAKS} == set(REGISTRY_CHECKS)


def test_scoring_may_tell_an_alert_twice() -> None:
    """Each of scoring's processes tells of the same refusal under the same id; that is no violation."""
    whole = facts()
    whole.alerts += [alert(1, "opened", "m", "model")] * 2 + [alert(2, "resolved", "m", "model")] * 2
    assert found(whole) == set()


@pytest.mark.parametrize(
    ("came", "passed"),
    [
        (label(1, 3, "c", 3), label(0, 22, "c", 3)),
        (label(0, 3, "c", 3), label(0, 22, "c", 3, stamp=29_500)),
        (label(0, 3, "c", 21), label(0, 22, "c", 21)),
    ],
    ids=["on another partition", "hardly before the deadline passed", "too late by its own time"],
)
def test_a_label_may_be_late_in_earnest(came: Item, passed: Item) -> None:
    """An orphan is no violation where the label may have come too late."""
    late = facts()
    label_orphaned(late)
    late.raw_labels[3], late.labels[2] = came, passed
    late.outcomes[4] = Told(0, 44, msgspec.structs.replace(late.outcomes[4].outcome, time=passed.time or at(0)))
    assert found(late) == set()
