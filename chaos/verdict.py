"""The verdict: nothing lost, nothing twice. Pure checks over what the reader read; each returns its violations.

A violation is a sentence that names the records concerned, as ``topic/partition@offset``. Raw records are the only
truth that is taken for granted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chaos.facts import Facts, Item
from schemas.topics import topic_name

FINAL = frozenset({"labelled", "expired"})
LEARNED = frozenset({"labelled", "corrected"})
Violations = Iterator[str]


class Verdict:
    """The checks over one pipeline's facts. ``closing`` is how the ids of events begin that no deadline has passed."""

    def __init__(self, facts: Facts, pipeline: str, closing: str) -> None:
        self.facts = facts
        self._pipeline = pipeline
        self._closing = closing
        self._dead = Counter((it.stage, it.topic, it.partition, it.offset) for it in facts.dead)

    def violations(self) -> dict[str, list[str]]:
        """By check, in the order that records pass."""
        return {name: list(check(self)) for name, check in CHECKS.items()}

    def events(self) -> Violations:
        """Every raw event ends in one clean event, among the duplicates, or in one dead letter."""
        facts = self.facts
        alive = list(self._alive("clean", "events.raw", facts.raw_events))
        yield from (f"{self._at('events.raw', it)} ended nowhere: no id, no dead letter" for it in alive if not it.id)
        came = _by(it for it in alive if it.id)
        clean = _by(facts.events)
        for name in came.keys() - clean.keys():
            yield f"event {name!r} is lost: {self._list('events.raw', came[name])} and no clean event"
        for name, items in clean.items():
            if name not in came:
                yield f"event {name!r} came from nowhere: {self._list('events.clean', items)}"
            if len(items) > 1:
                yield f"event {name!r} passed {len(items)} times: {self._list('events.clean', items)}"
        repeats: Counter[int] = Counter()
        for name, items in clean.items():
            repeats[items[0].partition] += len(came.get(name, items)) - 1
        yield from self._totals("clean", "duplicates", repeats)

    def labels(self) -> Violations:
        """Every raw label ends in one clean label or in one dead letter."""
        facts = self.facts
        alive = list(self._alive("clean", "labels.raw", facts.raw_labels))
        yield from (f"{self._at('labels.raw', it)} ended nowhere: no id, no dead letter" for it in alive if not it.id)
        yield from _same(
            "label", Counter((it.id, it.time, it.label) for it in alive if it.id),
            Counter((it.id, it.time, it.label) for it in facts.labels), "in labels.raw", "in labels.clean",
        )  # fmt: skip

    def deadletters(self) -> Violations:
        """A dead letter is cleaning's, one of each poisoned raw record, by the rule that its kind of poison calls for."""
        facts = self.facts
        refused = {
            (self._topic(stream), it.partition, it.offset): it.refused
            for stream, items in (("events.raw", facts.raw_events), ("labels.raw", facts.raw_labels))
            for it in items
        }
        for dead, count in Counter(facts.dead).items():
            at = f"{dead.topic}/{dead.partition}@{dead.offset}"
            wanted = refused.get((dead.topic, dead.partition, dead.offset))
            if count > 1:
                yield f"{at} has {count} dead letters of {dead.stage}"
            if dead.stage != "clean":
                yield f"{at} is a dead letter of {dead.stage} ({dead.rule}): what cleaning has passed can be used"
            elif wanted is None:
                yield f"a dead letter is of {at}, where no such record lies"
            elif dead.rule != wanted:
                yield f"{at} is a dead letter by {dead.rule!r}, by the script it is {wanted or 'good'!r}"

    def predictions(self) -> Violations:
        """Every clean event is in one prediction (or one dead letter of scoring)."""
        alive = self._alive("score", "events.clean", self.facts.events)
        yield from _same(
            "event", Counter((it.partition, it.id) for it in alive),
            Counter((it.partition, it.id) for it in self.facts.predictions), "in events.clean", "in predictions",
        )  # fmt: skip

    def order(self) -> Violations:
        """Records of one partition, and so of one key, keep their order from stream to stream."""
        facts = self.facts
        for raw, clean, identity in (
            (list(self._alive("clean", "events.raw", facts.raw_events)), facts.events, lambda it: it.id),
            (list(self._alive("clean", "labels.raw", facts.raw_labels)), facts.labels, lambda it: (it.id, it.time)),
        ):
            yield from self._order(raw, clean, identity)
        yield from self._order(facts.events, facts.predictions, lambda it: it.id)

    def outcomes(self) -> Violations:
        """Every prediction whose deadline has passed has one final outcome, the others at most one."""
        facts = self.facts
        final = Counter(
            (told.partition, told.outcome.prediction_offset) for told in facts.outcomes if told.outcome.state in FINAL
        )
        for it in self._alive("join", "predictions", facts.predictions):
            count = final.pop((it.partition, it.offset), 0)
            if count > 1 or (count == 0 and not it.id.startswith(self._closing)):
                yield f"{self._at('predictions', it)} of {it.id!r} has {count} final outcomes"
        yield from (f"an outcome is of predictions/{p}@{offset}, where no prediction lies" for p, offset in final)

    def label_outcomes(self) -> Violations:
        """Every clean label is in one outcome."""
        facts = self.facts
        told = Counter(
            (told.partition, told.outcome.label_offset) for told in facts.outcomes if told.outcome.state != "expired"
        )
        for it in self._alive("join", "labels.clean", facts.labels):
            count = told.pop((it.partition, it.offset), 0)
            if count != 1:
                yield f"{self._at('labels.clean', it)} of {it.id!r} is in {count} outcomes"
        yield from (f"an outcome is of labels.clean/{p}@{offset}, where no label lies" for p, offset in told)

    def examples(self) -> Violations:
        """Every labelled or corrected outcome is in one example, a correction as a correction."""
        told = Counter(
            (it.outcome.event_id, it.outcome.time, it.outcome.label, it.outcome.state == "corrected")
            for it in self.facts.outcomes
            if it.outcome.state in LEARNED or (it.outcome.state == "expired" and it.outcome.label is not None)
        )
        learned = Counter((it.id, it.label_time, it.label, it.corrects is not None) for it in self.facts.examples)
        yield from _same("label", told, learned, "in outcomes", "in examples")

    def alerts(self) -> Violations:
        """No alert id comes twice, scoring's aside: each of its processes tells its own."""
        counts = Counter(alert.alert_id for alert in self.facts.alerts if alert.kind != "model")
        yield from (f"alert {name} is there {count} times" for name, count in counts.items() if count > 1)

    def incidents(self) -> Violations:
        """An incident opens once, is updated, and resolves once, at the end, with a resolution."""
        steps: defaultdict[str, list[str]] = defaultdict(list)
        told: set[str] = set()
        for alert in self.facts.alerts:
            if (alert.state == "resolved") != (alert.resolution is not None):
                yield f"alert {alert.alert_id} is {alert.state} with resolution {alert.resolution}"
            if alert.kind == "model" and alert.alert_id in told:
                continue
            told.add(alert.alert_id)
            steps[alert.incident_id].append(alert.state)
        for name, states in steps.items():
            middle = states[1:-1] if states[-1] == "resolved" else states[1:]
            if states[0] != "opened" or any(state != "updated" for state in middle):
                yield f"incident {name} went {' -> '.join(states)}"

    def totals(self) -> Violations:
        """What the lanes' checkpoints count is what the topics hold."""
        facts = self.facts
        yield from self._totals("clean", "events", Counter(it.partition for it in facts.events))
        yield from self._totals("clean", "labels", Counter(it.partition for it in facts.labels))
        yield from self._totals("score", "predictions", Counter(it.partition for it in facts.predictions))
        for state in ("labelled", "corrected", "duplicate", "superseded", "orphan", "expired"):
            found = Counter(it.partition for it in facts.outcomes if it.outcome.state == state)
            yield from self._totals("join", state, found)
        learned = Counter(("corrections" if it.corrects is not None else "examples") for it in facts.examples)
        for name in ("examples", "corrections"):
            yield from self._totals("train", name, Counter({0: learned[name]}))

    def _totals(self, stage: str, name: str, found: Counter[int]) -> Violations:
        lanes = {lane for of, lane in self.facts.checkpoints if of == stage} | found.keys()
        for lane in sorted(lanes):
            checkpoint = self.facts.checkpoints.get((stage, lane))
            told = checkpoint.totals.get(name, 0) if checkpoint else 0
            if told != found[lane]:
                yield f"lane {stage}/{lane} counts {told} {name}, the topics hold {found[lane]}"

    def _order(self, before: Iterable[Item], after: Iterable[Item], identity: Callable[[Item], Any]) -> Violations:
        """``after`` holds what came on one partition of ``before`` in the order in which it came first."""
        first: dict[Any, Item | None] = {}
        for it in before:
            known = first.setdefault(identity(it), it)
            if known is not None and known.partition != it.partition:
                first[identity(it)] = None  # it came on several partitions: any may have been the first
        newest: dict[tuple[int, int], Item] = {}
        for it in after:
            source = first.get(identity(it))
            if source is None:
                continue
            last = newest.setdefault((source.partition, it.partition), source)
            if source.offset < last.offset:
                yield (
                    f"{it.id!r} (partition {it.partition}, offset {it.offset}) overtook {last.id!r}: they came at "
                    f"{source.offset} and {last.offset} of partition {source.partition}"
                )
            newest[source.partition, it.partition] = source

    def _alive(self, stage: str, stream: str, items: Iterable[Item]) -> Iterator[Item]:
        """Those that the stage has not refused."""
        topic = self._topic(stream)
        return (it for it in items if (stage, topic, it.partition, it.offset) not in self._dead)

    def _topic(self, stream: str) -> str:
        return topic_name(self._pipeline, stream)

    def _at(self, stream: str, it: Item) -> str:
        return f"{self._topic(stream)}/{it.partition}@{it.offset}"

    def _list(self, stream: str, items: Iterable[Item]) -> str:
        return ", ".join(self._at(stream, it) for it in items)


CHECKS: dict[str, Callable[[Verdict], Violations]] = {
    "each raw event in one clean event, duplicate or dead letter": Verdict.events,
    "each raw label in one clean label or dead letter": Verdict.labels,
    "each dead letter of a poisoned record, once, by its rule": Verdict.deadletters,
    "each clean event in one prediction": Verdict.predictions,
    "order kept within a key": Verdict.order,
    "each prediction in one final outcome": Verdict.outcomes,
    "each label in one outcome": Verdict.label_outcomes,
    "each labelled or corrected outcome in one example": Verdict.examples,
    "no alert twice": Verdict.alerts,
    "incidents open, then resolve": Verdict.incidents,
    "totals are what the topics hold": Verdict.totals,
}


def _by(items: Iterable[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for it in items:
        found.setdefault(it.id, []).append(it)
    return found


def _same(what: str, left: Counter[Any], right: Counter[Any], here: str, there: str) -> Violations:
    for identity in left.keys() | right.keys():
        if left[identity] != right[identity]:
            told = " ".join(str(part) for part in identity)
            yield f"{what} {told} is {left[identity]} times {here}, {right[identity]} times {there}"
