"""A lane of the join without Kafka: its logs as lists, transactions, restarts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import msgspec

from schemas.codec import encode
from schemas.labels import CleanLabel
from schemas.outcomes import Outcome
from schemas.predictions import ChallengerScore, ModelRef, Prediction
from services.domain.records import Incoming, Output
from services.domain.spec import Spec
from services.learner.core.join import Join
from services.learner.core.join_restore import restore
from services.learner.core.ledger import Entry
from services.learner.core.values import MOST_IN_MEMORY
from services.learner.disk import Disk
from services.runtime.merge import merge
from tests.unit.records import Rec

START = datetime(2024, 1, 1, tzinfo=UTC)
HORIZON = 10
PREDICTIONS, LABELS, OUTCOMES = "p.predictions", "p.labels.clean", "p.outcomes"
LANE = 3


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def spec(task: str = "binary", **label: Any) -> Spec:
    return msgspec.convert(
        {
            "pipeline": {"name": "p", "task": task},
            "event": {"id": "id", "time": "t", "clock": label.pop("clock", "replay")},
            "label": {"id": "id", "value": "v", "time": "t", "horizon": f"{HORIZON}m", **label},
            "features": {"x": {"type": "number"}},
            "model": {"candidates": [{"name": "m", "model": "logistic_regression"}]},
        },
        Spec,
    )


def made_prediction(event_id: str, time: datetime, **features: float) -> Prediction:
    return Prediction(
        event_id=event_id,
        time=time,
        score=0.25,
        prediction=False,
        model=ModelRef("p", "m", 4, 17),
        encodings_offset=17,
        challengers=[ChallengerScore("c", 2, 17, 0.5)],
        features={"x": 1.5, "y": "é", "z": None, **features},
        encoded={"y": [0.1, 0.2]},
        spec="abc",
    )


def prediction(offset: int, event_id: str, minutes: float, stamp: int = 0) -> Rec:
    value = encode(made_prediction(event_id, at(minutes)))
    return Rec(PREDICTIONS, LANE, offset, stamp, event_id.encode(), value)


def label(offset: int, event_id: str, minutes: float, value: bool | float = True, stamp: int = 0) -> Rec:
    return Rec(LABELS, LANE, offset, stamp, event_id.encode(), encode(CleanLabel(event_id, at(minutes), value)))


def join(**options: Any) -> Join:
    kept = {name: options.pop(name) for name in ("spill_after", "keep_ms", "most_in_memory") if name in options}
    store = options.pop("store", {})
    return Join(options.pop("spec", None) or spec(**options), LANE, 4, PREDICTIONS, LABELS, store=store, **kept)


def outcomes(output: Output) -> list[Outcome]:
    return [msgspec.json.decode(out.value or b"", type=Outcome) for out in output.sends.get(("outcomes", LANE), [])]


@dataclass
class Lane:
    """Runs a core over its logs as the runtime does; ``restart`` forgets the core and restores another."""

    predictions: list[Rec] = field(default_factory=list)
    labels: list[Rec] = field(default_factory=list)
    spill_after: int = 200_000
    keep_ms: int | None = None
    most_in_memory: int = MOST_IN_MEMORY
    now: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    outcomes: list[Rec] = field(default_factory=list)
    examples: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    deadletters: list[bytes | None] = field(default_factory=list)
    state: dict[bytes, Rec] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=lambda: {PREDICTIONS: 0, LABELS: 0})

    def __post_init__(self) -> None:
        self.buffers: list[deque[Incoming]] = [deque(), deque()]
        self.fetched = [0, 0]
        self.end = 0
        self.core = self.new()
        self.checkpoint = self.core.standing()
        self.totals = dict(self.core.totals)

    def new(self) -> Join:
        self.disk = Disk(Path(gettempdir()))
        return join(
            spill_after=self.spill_after,
            keep_ms=self.keep_ms,
            most_in_memory=self.most_in_memory,
            store=self.disk,
            **self.options,
        )

    def fetch(self, rank: int, count: int) -> None:
        log = self.logs[rank]
        self.buffers[rank].extend(log[self.fetched[rank] : self.fetched[rank] + count])
        self.fetched[rank] = min(self.fetched[rank] + count, len(log))

    @property
    def logs(self) -> list[list[Rec]]:
        return [self.predictions, self.labels]

    def work(self, limit: int) -> None:
        """One turn of the lane: merge, process, commit; expire what may."""
        exhausted = [done == len(log) for done, log in zip(self.fetched, self.logs, strict=True)]
        self.process(merge(self.buffers, exhausted, limit))
        mark = self.core.expirable()
        if mark is not None and self.read[LABELS] == len(self.labels):
            self.commit(self.core.expire(mark))

    def process(self, batch: Sequence[Incoming]) -> Output:
        for record in batch:
            self.read[record.topic] = record.offset + 1
        output = self.core.process(batch, self.now)
        self.commit(output)
        return output

    def commit(self, output: Output) -> None:
        """Append the outputs, one transaction marker after them, and keep the checkpoint."""
        for (stream, _), outs in output.sends.items():
            for out in outs:
                if stream == "outcomes":
                    self.outcomes.append(Rec(OUTCOMES, LANE, self.end, out.timestamp, out.key, out.value))
                    self.end += 1
                elif stream == "examples":
                    self.examples.append((out.key, out.value))
                elif stream == "deadletter":
                    self.deadletters.append(out.value)
                elif out.value is None:
                    self.state.pop(out.key or b"", None)
                else:
                    self.state[out.key or b""] = Rec("p.state.learner", LANE, 0, out.timestamp, out.key, out.value)
        self.checkpoint, self.totals = self.core.standing(), dict(self.core.totals)
        self.end += 1
        self.core.outcomes_position = self.end - 1

    def restart(self) -> None:
        self.disk.close()
        self.core = self.new()
        low = self.checkpoint.low_water
        restore(
            self.core,
            self.checkpoint.data,
            self.totals,
            predictions=self.predictions[low[PREDICTIONS] : self.read[PREDICTIONS]],
            labels=self.labels[low[LABELS] : self.read[LABELS]],
            outcomes=[record for record in self.outcomes if record.offset >= low[OUTCOMES]],
            spilled=list(self.state.values()),
        )
        self.core.outcomes_position = self.end
        self.fetched = [self.read[PREDICTIONS], self.read[LABELS]]
        self.buffers = [deque(), deque()]

    def finish(self) -> None:
        """Read everything to the end."""
        for rank in (0, 1):
            self.fetch(rank, len(self.logs[rank]))
        while any(self.buffers) or self.core.expirable() is not None:
            self.work(1_000)

    def ledger(self) -> tuple[dict[bytes | None, list[bytes | None]], dict[bytes | None, list[bytes | None]]]:
        """Outcomes and examples by id, in order."""
        told: dict[bytes | None, list[bytes | None]] = {}
        for record in self.outcomes:
            told.setdefault(record.key, []).append(record.value)
        learned: dict[bytes | None, list[bytes | None]] = {}
        for key, value in self.examples:
            learned.setdefault(key, []).append(value)
        return told, learned


def remembered(core: Join) -> dict[str, Any]:
    """All that the join remembers, in a form that can be compared."""
    ledger = core.ledger
    chains: dict[bytes, list[tuple[object, ...]]] = {}
    for key, entry in ledger.entries.items():
        chain: list[tuple[object, ...]] = []
        older: Entry | None = entry
        while older is not None:
            chain.append((older.offset, older.time, older.value or ledger.values.read(older), older.label))
            older = older.older
        chains[key] = chain
    return {
        "entries": chains,
        "waiting": {
            key: [(label.offset, label.time, label.label) for label in labels] for key, labels in ledger.waiting.items()
        },
        "lapsed": sorted(entry.offset for entry in (*ledger.lapsed, *ledger.closed)),
        "repeats": ledger.repeats,
        "counts": (ledger.pending, ledger.waiting_count, core.totals),
        "watermark": (ledger.watermark.greatest, ledger.watermark.at, ledger.watermark.moved_by),
        "low": (ledger.predictions.low(), ledger.labels.low()),
    }


def assert_balanced(core: Join) -> None:
    """The account of predictions and of labels, and the standing counts against what is really there."""
    totals = core.totals
    dead = {
        stream: sum(count for name, count in totals.items() if name.startswith(f"deadletter.{stream}."))
        for stream in ("predictions", "labels")
    }
    predicted = totals["labelled"] + totals["expired"] + totals["pending"] + totals["repeats"] + dead["predictions"]
    assert totals["predictions"] == predicted
    ends = ("labelled", "corrected", "duplicate", "superseded", "orphan", "waiting")
    assert totals["labels"] == sum(totals[end] for end in ends) + dead["labels"]
    chains = remembered(core)
    pending = sum(label is None for chain in chains["entries"].values() for *_, label in chain)
    assert (pending, sum(map(len, chains["waiting"].values()))) == (totals["pending"], totals["waiting"])
