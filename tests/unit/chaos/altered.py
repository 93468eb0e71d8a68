"""Ways to break the whole log at several places at once, so that everything still adds up."""

from __future__ import annotations

from chaos.facts import Dead, Facts
from tests.unit.chaos.whole import PIPELINE, checkpoint


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
