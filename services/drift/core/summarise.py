"""Stage ``summarise``: predictions of a lane (and lane 0: examples) to mergeable parts of blocks.

z is computed against the lane's own running mean and variance (see :mod:`services.drift.core.standards`): event ids
are spread by hash, so lanes see the same distribution and their standards agree; a lane's is a function of its log
alone, and frozen within a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import log
from typing import Any

import msgspec
import numpy as np

from schemas.predictions import ChallengerScore, ModelRef
from schemas.summaries import Moments, Summary, Time
from services.domain.deadletters import dead_letter
from services.domain.records import Incoming, Out, Output, Standing
from services.domain.spec import Spec
from services.drift.core.parts import Span, Sums, SumsState, add, begin, ends_of
from services.drift.core.rows import Rows
from services.drift.core.standards import Standards, StandardsState

STAGE = "summarise"
_MOST_CANDIDATES = 32
_LEAST_PROBABILITY = 1e-15
_encode = msgspec.json.Encoder().encode


class _Example(msgspec.Struct):
    kind: str
    time: Time | None = None
    label: bool | float | None = None
    score: float = 0.0
    model: ModelRef | None = None
    challengers: list[ChallengerScore] = []
    spec: str = ""
    corrects: bool | float | None = None


class _Losses(msgspec.Struct):
    span: Span
    loss: dict[str, Moments]


class _State(msgspec.Struct):
    standards: StandardsState
    sums: SumsState
    span: Span | None
    losses: _Losses | None


_STATE = msgspec.json.Decoder(_State | None)


class Summarise:
    """The core of one lane; see :class:`services.domain.records.Core`.

    ``predictions_topic`` and ``examples_topic`` are full names. Undecodable records are dead letters; corrections
    and control records of ``examples`` are passed over.
    """

    def __init__(self, spec: Spec, lane: int, partitions: int, predictions_topic: str, examples_topic: str) -> None:
        self.totals: dict[str, int] = {"predictions": 0, "examples": 0, "summaries": 0}
        self._lane, self._partitions = lane, partitions
        self._predictions, self._examples = predictions_topic, examples_topic
        self._ends = ends_of(spec, partitions)
        self._binary = spec.pipeline.task == "binary"
        numeric = [name for name, feature in spec.features.items() if feature.type == "number"]
        others = [name for name, feature in spec.features.items() if feature.type != "number"]
        self._sums = Sums(numeric, others)
        self._standards = Standards(numeric)
        self._span: Span | None = None
        self._losses: _Losses | None = None
        self._rows = Rows(numeric, others)
        self._example = msgspec.json.Decoder(_Example)

    def process(self, batch: Sequence[Incoming], now: int) -> Output:  # noqa: ARG002 - a core's signature
        """Sum records up; a summary goes out wherever a part ends."""
        output = Output()
        predictions = [(record, row) for record in batch if record.topic == self._predictions
                       and (row := self._prediction(record, output)) is not None]  # fmt: skip
        self._fold_predictions(predictions, output)
        for record in batch:
            if record.topic == self._examples:
                self._fold_example(record, output)
        return output

    def standing(self) -> Standing:
        """The parts in progress and the standards."""
        return Standing(_encode(_State(self._standards.state(), self._sums.state(), self._span, self._losses)))

    def restore(self, data: bytes, totals: Mapping[str, int]) -> None:
        """Continue from a checkpoint, also one of another pipeline file: features are matched by name.

        Without state (``null``) all but the totals begins anew.
        """
        state = _STATE.decode(data)
        self.totals.update(totals)
        if state is None:
            return
        self._standards.restore(state.standards)
        self._sums.restore(state.sums, state.standards.names)
        self._span, self._losses = state.span, state.losses

    def _prediction(self, record: Incoming, output: Output) -> Any:
        try:
            return self._rows.decode(record.value or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._refuse(record, error, output)
            return None

    def _refuse(self, record: Incoming, error: Exception, output: Output) -> None:
        letter = dead_letter(record, STAGE, "undecodable", str(error), error)
        output.to("deadletter", self._lane % self._partitions).append(letter)
        self.totals["deadletter.undecodable"] = self.totals.get("deadletter.undecodable", 0) + 1

    def _fold_predictions(self, rows: Sequence[tuple[Incoming, Any]], output: Output) -> None:
        times = [row.time for _, row in rows]
        i = 0
        while i < len(rows):
            span = self._span or begin(rows[i][0].offset, times[i], rows[i][1].spec, rows[i][1].model)
            stop, ended = self._ends.find(times, i, span.events, span.anchor)
            self._span = span
            if stop > i:
                self._take(span, rows[i:stop], times[i:stop])
            if ended:
                self._end_part(span, output)
            i = stop
        self.totals["predictions"] += len(rows)

    def _take(self, span: Span, rows: Sequence[tuple[Incoming, Any]], times: Sequence[datetime]) -> None:
        last, newest = rows[-1]
        stamp = max(record.timestamp for record, _ in rows)
        span.take(last.offset, stamp, times, newest.spec, newest.model)
        cells = [msgspec.structs.astuple(row.features) for _, row in rows]
        width = len(self._sums.numbers)
        if width:
            self._sums.take_numbers(np.array([cell[:width] for cell in cells], dtype=np.float64), self._standards)
        for i, name in enumerate(self._sums.others, width):
            column = [cell[i] for cell in cells]
            missing = column.count(None)
            self._sums.take_other(name, len(column) - missing - column.count(msgspec.UNSET), missing)
        for _, row in rows:
            add(self._sums.score, row.score)

    def _end_part(self, span: Span, output: Output) -> None:
        features = self._sums.features(self._standards)
        self._send(Summary(
            lane=self._lane, source="predictions", first_offset=span.first_offset, last_offset=span.last_offset,
            start=span.start, end=span.end, events=span.events, features=features, score=self._sums.score, loss={},
            spec=span.spec, watermark=span.watermark, model=span.model,
        ), span, output)  # fmt: skip
        self._sums.learned_by(self._standards)
        self._sums.clear()
        self._span = None

    def _send(self, summary: Summary, span: Span, output: Output) -> None:
        output.to("summaries", 0).append(Out(str(self._lane).encode(), _encode(summary), span.timestamp))
        self.totals["summaries"] += 1

    def _fold_example(self, record: Incoming, output: Output) -> None:
        try:
            example = self._example.decode(record.value or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._refuse(record, error, output)
            return
        if example.kind != "example" or example.time is None or example.model is None or example.label is None:
            return
        self.totals["examples"] += 1
        if example.corrects is None:
            self._take_example(record, example, example.time, example.model, output)

    def _take_example(
        self, record: Incoming, example: _Example, time: datetime, model: ModelRef, output: Output
    ) -> None:
        losses = self._losses
        if losses and self._ends.find([time], 0, losses.span.events, losses.span.anchor) == (0, True):
            self._end_losses(losses, output)
            losses = None
        losses = losses or _Losses(begin(record.offset, time, example.spec, model), {})
        _, ended = self._ends.find([time], 0, losses.span.events, losses.span.anchor)
        losses.span.take(record.offset, record.timestamp, [time], example.spec, model)
        label = float(example.label or 0.0)
        self._add_loss(losses.loss, model.candidate, example.score, label)
        for challenger in example.challengers:
            self._add_loss(losses.loss, challenger.candidate, challenger.score, label)
        self._losses = losses
        if ended:
            self._end_losses(losses, output)

    def _end_losses(self, losses: _Losses, output: Output) -> None:
        span = losses.span
        self._send(Summary(
            lane=self._lane, source="examples", first_offset=span.first_offset, last_offset=span.last_offset,
            start=span.start, end=span.end, events=span.events, features={}, score=Moments(), loss=losses.loss,
            spec=span.spec, watermark=span.watermark, model=span.model,
        ), span, output)  # fmt: skip
        self._losses = None

    def _add_loss(self, losses: dict[str, Moments], candidate: str, score: float, label: float) -> None:
        if candidate in losses or len(losses) < _MOST_CANDIDATES:
            error = score - label
            value = log_loss(score, label) if self._binary else error * error
            add(losses.setdefault(candidate, Moments()), value)


def log_loss(score: float, label: float) -> float:
    """Negative log likelihood of a binary label, of a probability held within 1e-15 of 0 and 1."""
    p = min(max(score, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return -log(p if label else 1 - p)
