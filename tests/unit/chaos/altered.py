"""Ways to break the whole log at several places at once, so that everything still adds up."""

from __future__ import annotations

import msgspec

from chaos.facts import Dead, Facts
from tests.unit.chaos.whole import PIPELINE, checkpoint, label, told


def dead(stream: str, partition: int, offset: int, rule: str = "json_invalid", stage: str = "clean") -> Dead:
    return Dead(stage, f"{PIPELINE}.{stream}", partition, offset, rule)


def good_refused(it: Facts) -> None:
    """Cleaning has refused a good event, b, and every later stage and total agrees."""
    it.dead.append(dead("events.raw", 0, 2, "unexpected"))
    it.events = [event for event in it.events if event.id != "b"]
    it.predictions = [made for made in it.predictions if made.id != "b"]
    it.outcomes = [each for each in it.outcomes if each.outcome.event_id != "b"]
    it.checkpoints.update([
        checkpoint("clean", 0, duplicates=1, events=3, labels=3), checkpoint("score", 0, predictions=3),
        checkpoint("join", 0, labelled=2, corrected=1),
    ])  # fmt: skip


def all_refused(it: Facts) -> None:
    """Scoring has refused every event, and the join every label; every total agrees."""
    it.dead += [dead("events.clean", event.partition, event.offset, "unexpected", "score") for event in it.events]
    it.dead += [dead("labels.clean", label.partition, label.offset, "unexpected", "join") for label in it.labels]
    it.predictions, it.outcomes, it.examples = [], [], []
    it.checkpoints.update([checkpoint("score", 0), checkpoint("join", 0), checkpoint("train", 0)])


def paired_crosswise(it: Facts) -> None:
    """The labels of a and c have met each other's predictions; each is counted once."""
    it.outcomes[0] = told(40, "a", "labelled", (32, 20), 1)
    it.outcomes[1] = told(41, "a", "corrected", (32, 21), 2)
    it.outcomes[3] = told(43, "c", "labelled", (30, 22), 3)


def label_orphaned(it: Facts) -> None:
    """The label of c came long before its deadline passed, and is an orphan; the prediction has expired."""
    it.raw_labels[3] = label(0, 3, "c", 3)
    it.outcomes[3] = told(43, "c", "expired", (32, None), 20)
    it.outcomes.append(told(44, "c", "orphan", (None, 22), 3))
    it.examples.pop()
    it.checkpoints.update([
        checkpoint("join", 0, labelled=1, corrected=1, expired=2, orphan=1),
        checkpoint("train", 0, examples=1, corrections=1),
    ])  # fmt: skip


def label_taken_for_another(it: Facts) -> None:
    """As before, but the label is told as the repeat of one that there is not."""
    label_orphaned(it)
    it.outcomes[4] = told(44, "c", "duplicate", (None, 22), 3)


def outcomes_reversed(it: Facts) -> None:
    """The correction of a was told, and learned, before what it corrects."""
    it.outcomes[0], it.outcomes[1] = it.outcomes[1], it.outcomes[0]
    it.examples[0], it.examples[1] = (
        msgspec.structs.replace(it.examples[1], offset=1), msgspec.structs.replace(it.examples[0], offset=2),
    )  # fmt: skip


def examples_exchanged(it: Facts) -> None:
    """The example of c came before those of a, whose outcomes lie on its partition before."""
    for place, offset in enumerate((2, 3, 1)):
        it.examples[place] = msgspec.structs.replace(it.examples[place], offset=offset)
    it.examples.sort(key=lambda each: each.offset)
