"""The checks of the label ledger: who was paired with whom, when, and in which order. Pure, as :mod:`chaos.verdict`."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import accumulate

from chaos.facts import Facts, Item, Learned, Told
from chaos.script import HORIZON
from chaos.verdict import LEARNED, Violations

LAY_THERE_MS = 1_000
"""A label came so long before another record, by their stamps, that whoever read that one had read the label."""


def pairs(facts: Facts) -> Violations:
    """An outcome's id is that of its prediction and of its label, its time and value the label's, or the deadline and none."""
    predictions = _placed(facts.predictions)
    labels = _placed(facts.labels)
    for told in facts.outcomes:
        it = told.outcome
        made = predictions.get((told.partition, it.prediction_offset))
        label = labels.get((told.partition, it.label_offset))
        others = {each.id for each in (made, label) if each is not None} - {it.event_id}
        if others:
            yield f"{_at(told)} of {it.event_id!r} pairs it with {' and '.join(sorted(others))}"
        time, value = _told_of(made, label)
        if (time, value) != (it.time, it.label):
            yield f"{_at(told)} of {it.event_id!r} tells {it.label} at {it.time}, not {value} at {time}"


def served(facts: Facts) -> Violations:
    """An example holds what its outcome's prediction held, as served; it corrects what was learned before of its id."""
    predictions = _placed(facts.predictions)
    wanted = {
        (it.event_id, it.time): predictions.get((told.partition, it.prediction_offset))
        for told in facts.outcomes
        if (it := told.outcome).state in LEARNED
    }
    learned: dict[str, bool | float | None] = {}
    for example in facts.examples:
        made = wanted.get((example.id, example.label_time))
        if made is not None and (made.id, made.served) != (example.id, example.served):
            yield f"examples@{example.offset} of {example.id!r} does not hold what was served with {made.id!r}"
        if example.corrects != learned.get(example.id):
            yield (
                f"examples@{example.offset} of {example.id!r} corrects {example.corrects}, learned before was "
                f"{learned.get(example.id)}"
            )
        learned[example.id] = example.label


def in_time(facts: Facts) -> Violations:
    """A label in time, that lay there when its prediction's deadline passed, is no orphan, and the prediction has not expired.

    It lay there when it came on its id's own partition, and its stamp is lower than that of the first prediction of
    that partition beyond the deadline. Others may be late in earnest: while a lane is down, labels wait for cleaning.
    """
    expired = {(it.partition, it.outcome.prediction_offset) for it in facts.outcomes if it.outcome.state == "expired"}
    orphans = {(it.partition, it.outcome.label_offset) for it in facts.outcomes if it.outcome.state == "orphan"}
    came = defaultdict(set)
    for raw in facts.raw_labels:
        came[raw.id, raw.time].add(raw.partition)
    predictions = {(it.partition, it.id): it for it in facts.predictions}
    lanes = _lanes(facts.predictions)
    for label in facts.labels:
        made = predictions.get((label.partition, label.id))
        if made is None or came[label.id, label.time] != {label.partition}:
            continue
        if not _lay_there(label, made, lanes[label.partition]):
            continue
        where = f"the label of {label.id!r} at labels.clean/{label.partition}@{label.offset} was in time"
        if (label.partition, label.offset) in orphans:
            yield f"{where}, and is an orphan"
        if (made.partition, made.offset) in expired:
            yield f"{where}, and its prediction at predictions/{made.partition}@{made.offset} has expired"


def order(facts: Facts) -> Violations:
    """Outcomes of one prediction come in the order of its labels, and a partition's examples in that of its outcomes."""
    newest: dict[tuple[int, int], tuple[int, Told]] = {}
    for told in facts.outcomes:
        of, label = told.outcome.prediction_offset, told.outcome.label_offset
        if of is None or label is None:
            continue
        last, before = newest.setdefault((told.partition, of), (label, told))
        if label < last:
            yield f"{_at(told)} of {told.outcome.event_id!r} is of an earlier label than {_at(before)}"
        newest[told.partition, of] = label, told
    offsets = {(it.id, it.label_time): it for it in facts.examples}
    ahead: dict[int, Learned] = {}
    for told in facts.outcomes:
        example = offsets.get((told.outcome.event_id, told.outcome.time))
        if example is None or told.outcome.state not in LEARNED:
            continue
        previous = ahead.setdefault(told.partition, example)
        if example.offset < previous.offset:
            yield (
                f"examples@{example.offset} of {example.id!r} overtook {previous.id!r} at {previous.offset}: their "
                f"outcomes lie on outcomes/{told.partition} the other way round"
            )
        ahead[told.partition] = example


CHECKS: dict[str, Callable[[Facts], Violations]] = {
    "outcome, prediction and label of one event": pairs,
    "each example of what was served": served,
    "no label in time comes to nothing": in_time,
    "order kept in outcomes and examples": order,
}


def _told_of(made: Item | None, label: Item | None) -> tuple[datetime | None, bool | float | None]:
    """The time and the value that an outcome of these has."""
    if label is not None:
        return label.time, label.label
    return (None, None) if made is None or made.time is None else (made.time + HORIZON, None)


class _Lane:
    """The predictions of one partition: what came first of a time beyond a given one."""

    def __init__(self, predictions: list[Item]) -> None:
        self._predictions = predictions
        self._reached = list(accumulate((it.time for it in predictions if it.time), max))

    def first_beyond(self, time: datetime) -> Item | None:
        place = bisect_right(self._reached, time)
        return self._predictions[place] if place < len(self._predictions) else None


def _lanes(predictions: list[Item]) -> dict[int, _Lane]:
    found: defaultdict[int, list[Item]] = defaultdict(list)
    for it in predictions:
        found[it.partition].append(it)
    return {partition: _Lane(items) for partition, items in found.items()}


def _lay_there(label: Item, made: Item, lane: _Lane) -> bool:
    if made.time is None or label.time is None or not timedelta() <= label.time - made.time <= HORIZON:
        return False
    beyond = lane.first_beyond(made.time + HORIZON)
    return beyond is None or (made.offset < beyond.offset and label.stamp + LAY_THERE_MS < beyond.stamp)


def _placed(items: list[Item]) -> dict[tuple[int, int | None], Item]:
    return {(it.partition, it.offset): it for it in items}


def _at(told: Told) -> str:
    return f"outcomes/{told.partition}@{told.offset}"
