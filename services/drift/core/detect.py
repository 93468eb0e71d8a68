"""Stage ``detect``: a fold of ``summaries``: parts to blocks, blocks to flags, flags to incidents on ``alerts``.

Everything is a function of the log: event times come from the summaries, ids from the record that completed a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from schemas.alerts import Alert, Position
from schemas.summaries import FeatureMoments
from schemas.topics import topic_name
from services.domain.deadletters import dead_letter
from services.domain.records import Incoming, Out, Output, Standing
from services.domain.spec import Spec, duration
from services.drift.core.blocks import Blocks, BlockSums, Order, OrderState, Part
from services.drift.core.incidents import Kind, Severity
from services.drift.core.reading import UNREADABLE, read
from services.drift.core.watch import Told, Watch

STAGE = "detect"
MOST_WAITING = 512
"""Parts that wait for other lanes before one that says nothing is given up."""
_SOURCES = ("predictions", "examples")
_encode = msgspec.json.Encoder().encode


class Signal(NamedTuple):
    """How one signal stands: its running sum by the threshold, whether it is out, its level and its reference's."""

    name: str
    sum_ratio: float
    out: bool
    level: float
    reference: float


class _Source(msgspec.Struct):
    """The checkpointed form of a source: the features of its block without the names of their fields."""

    block: BlockSums | None
    features: dict[str, tuple[Any, ...]]
    watch: Watch


class _State(msgspec.Struct):
    order: OrderState
    sources: dict[str, _Source]


_STATE = msgspec.json.Decoder(_State | None)


class Detect:
    """The core of the one lane of ``summaries``; see :class:`services.domain.records.Core`.

    Restoring reads ``summaries`` back from the low water (parts that wait for other lanes) to the checkpoint.
    """

    def __init__(self, spec: Spec) -> None:
        self.totals = {"summaries": 0, "blocks": 0, "opened": 0, "updated": 0, "resolved": 0}
        self._pipeline = spec.pipeline.name
        self._topic = topic_name(self._pipeline, "summaries")
        self._lanes = spec.topics.partitions
        self._rate = spec.drift.false_alarms_per_day
        self._order = Order(self._lanes, MOST_WAITING, duration(spec.drift.block.at_most))
        self._blocks = {source: Blocks(spec) for source in _SOURCES}
        self._watches = {source: Watch() for source in _SOURCES}

    def process(self, batch: Sequence[Incoming], now: int) -> Output:  # noqa: ARG002 - a core's signature
        """Fold parts; alerts go out keyed by incident id."""
        output = Output()
        for record in batch:
            try:
                summary = read(record, self._lanes)
            except UNREADABLE as error:
                letter = dead_letter(record, STAGE, "undecodable", str(error), error)
                output.to("deadletter", 0).append(letter)
                self.totals["deadletter.undecodable"] = self.totals.get("deadletter.undecodable", 0) + 1
                continue
            self.totals["summaries"] += 1
            part = Part(record.offset, record.timestamp, summary)
            ready = self._order.add(part) if summary.source == "predictions" else (part,)
            for each in ready:
                self._fold(each, record, output)
        return output

    def standing(self) -> Standing:
        """Blocks in progress, statistics, open incidents; what waits is named by the low water."""
        sources = {name: _packed(self._blocks[name].current, self._watches[name]) for name in _SOURCES}
        low_water = self._order.low_water()
        return Standing(
            _encode(_State(self._order.state(), sources)), {} if low_water is None else {self._topic: low_water}
        )

    def restore(self, data: bytes, totals: Mapping[str, int], waiting: Iterable[Incoming] = ()) -> None:
        """Continue from a checkpoint; ``waiting`` are the records from its low water up to its offset.

        Without state (``null``) all but the totals begins anew.
        """
        state = _STATE.decode(data) or _State(OrderState(), {})
        self.totals.update(totals)
        self._order.restore(state.order, _parts(waiting, self._lanes))
        for name, source in state.sources.items():
            self._blocks[name].current = _unpacked(source)
            self._watches[name] = source.watch

    def signals(self) -> Iterator[Signal]:
        """How every watched signal stands after the last block."""
        for watch in self._watches.values():
            for name, cusum in watch.statistics.items():
                highest = max(cusum.up, cusum.down)
                yield Signal(
                    name, highest / watch.threshold if watch.threshold else 0.0, cusum.out > 0, cusum.level,
                    cusum.reference.level,
                )  # fmt: skip

    def incidents(self) -> Counter[tuple[Kind, Severity]]:
        """Open incidents by kind and severity."""
        return Counter((each.kind, each.severity) for watch in self._watches.values() for each in watch.incidents)

    def _fold(self, part: Part, record: Incoming, output: Output) -> None:
        source = part.summary.source if part.summary.source in _SOURCES else "predictions"
        block = self._blocks[source].add(part.summary)
        if block is None:
            return
        self.totals["blocks"] += 1
        watched = sum(len(watch.statistics) for watch in self._watches.values())
        told = self._watches[source].step(block, self._rate, watched, self._incident_id(source, record.offset))
        for step in told:
            alert = self._alert(step, block, record)
            output.to("alerts", 0).append(Out(alert.incident_id.encode(), _encode(alert), record.timestamp))
            self.totals[step.state] += 1

    def _incident_id(self, source: str, offset: int) -> str:
        place = f"{self._pipeline}/drift/{source}/{offset}/{self.totals['blocks']}"
        return f"drift-{sha256(place.encode()).hexdigest()[:16]}"

    def _alert(self, step: Told, block: BlockSums, record: Incoming) -> Alert:
        incident = step.incident
        incident.alerts += 1
        return Alert(
            alert_id=f"{incident.incident_id}-{incident.alerts}",
            incident_id=incident.incident_id,
            state=step.state,
            resolution=incident.resolution if step.state == "resolved" else None,
            kind=incident.kind,
            severity=incident.severity,
            signal=incident.signal,
            summary=incident.summary(),
            evidence=evidence(step, block),
            suspects=incident.suspects(),
            model=block.model,
            detected_at=block.end,
            position=Position(record.topic, record.partition, record.offset),
        )


def _packed(block: BlockSums | None, watch: Watch) -> _Source:
    if block is None:
        return _Source(None, {}, watch)
    features = {name: msgspec.structs.astuple(moments) for name, moments in block.features.items()}
    return _Source(msgspec.structs.replace(block, features={}), features, watch)


def _unpacked(source: _Source) -> BlockSums | None:
    if source.block:
        source.block.features = {name: FeatureMoments(*moments) for name, moments in source.features.items()}
    return source.block


def evidence(step: Told, block: BlockSums) -> dict[str, float | str | None]:
    """What the step rests on: the threshold in force, the block's events, the first suspect's statistic."""
    first = step.incident.ranked()[0]
    return {
        "statistic": f"{first.what} of {first.subject}",
        "deviation_beyond_allowance": round(first.strength, 3),
        "threshold": round(step.threshold, 3),
        "blocks": float(first.blocks),
        "block_events": float(block.events),
        "statistics_moved": float(len(step.incident.members)),
    }


def _parts(records: Iterable[Incoming], lanes: int) -> Iterable[Part]:
    for record in records:
        try:
            summary = read(record, lanes)
        except UNREADABLE:
            continue
        if summary.source == "predictions":
            yield Part(record.offset, record.timestamp, summary)
