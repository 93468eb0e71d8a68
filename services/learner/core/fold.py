"""The fold of ``examples`` into encodings, columns and every candidate: a function of the log and an offset alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import msgspec

from schemas.examples import Control, Example, Record, Withdrawn
from schemas.parameters import LiveParameters
from schemas.predictions import ModelRef
from services.domain import catalogue, live, snapshot
from services.domain.columns import Columns, Row
from services.domain.encodings import Encodings
from services.domain.foreign import ModelError
from services.domain.linear import Linear
from services.domain.plan import plan_of
from services.domain.records import LARGEST
from services.domain.served import Part
from services.domain.spec import Candidate, Spec, SpecError, from_canonical
from services.learner.core import prequential
from services.learner.core.prequential import Prequential

_MAX_CAUSE = 500
_METRICS = msgspec.msgpack.Decoder(tuple[int, prequential.State])
HOPELESS = 100
"""Steps that may fail one after the other: each costs an estimator a load of its last dump, up to half a second."""


class Learner(msgspec.Struct):
    """One candidate in the fold; ``failures`` are steps that its model refused or that failed.

    One that has ``stopped`` learns no more and waits for the log to withdraw it. This alone of a fold's state may depend
    on when models were written down or restored, so nothing is published of it.
    """

    candidate: Candidate
    model: catalogue.Model
    measured: Prequential
    failures: int = 0
    stopped: Withdrawn | None = None
    failed_in_a_row: int = 0


class Taken(msgspec.Struct, frozen=True):
    """One candidate's snapshot, ready to be signed and published."""

    candidate: str
    blob: bytes
    metrics: dict[str, float]


class Refused(ValueError):  # noqa: N818 - not an error of the fold: the record's answer, which names a rule
    """A record that cannot be folded; the fold is as it was, but for its offset."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Fold:
    """State after the records before ``offset``.

    ``control`` is the control record in force, with the log's own ``log_id``, and ``spec`` the pipeline file it holds;
    both are None until the first one.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.examples = 0
        self.control: Control | None = None
        self.spec: Spec | None = None
        self.label_came_in_ms = 0
        self.learners: dict[str, Learner] = {}
        self._canaries: deque[snapshot.Canary] = deque(maxlen=snapshot.CANARIES)

    def apply(self, record: Record, offset: int, timestamp: int = 0) -> None:
        """Fold one record; ``timestamp`` is its Kafka timestamp (when the label came in).

        Raises Refused for one that cannot be: it changes nothing but the offset.
        """
        self.offset = offset + 1
        if isinstance(record, Control):
            self._control(record)
        else:
            self._example(record)
            self.label_came_in_ms = max(self.label_came_in_ms, timestamp)

    def _control(self, control: Control) -> None:
        try:
            spec = from_canonical(control.pipeline)
        except SpecError as error:
            raise Refused("invalid_pipeline", str(error)) from error
        plan = plan_of(spec)
        if self.spec is None:
            self._columns, self._encodings = Columns(plan), Encodings(plan)
        else:
            self._columns, moves = self._columns.replanned(plan)
            self._encodings = self._encodings.replanned(plan)
            for learner in self.learners.values():
                learner.model.moved(moves, plan)
        self.learners = {it.name: self._learner(it, spec) for it in _remaining(spec, control.withdrawn)}
        log_id = self.control.log_id if self.control else control.log_id
        self.control, self.spec = msgspec.structs.replace(control, log_id=log_id), spec

    def _learner(self, candidate: Candidate, spec: Spec) -> Learner:
        kept = self.learners.get(candidate.name)
        table = spec.pipeline
        if kept is None or not catalogue.same_kind(kept.candidate, candidate):
            measured = Prequential(binary=table.task == "binary", threshold=table.threshold)
            return Learner(candidate, catalogue.make(candidate, self._columns), measured)
        if isinstance(kept.model, Linear):
            kept.model.follow(candidate)
        measured = Prequential(binary=table.task == "binary", threshold=table.threshold, state=kept.measured.state())
        return Learner(candidate, kept.model, measured, kept.failures, kept.stopped)

    def _example(self, example: Example) -> None:
        if self.spec is None:
            raise Refused("no_control", "an example before the control record that says how to learn from it")
        label = self._label(example)
        features, encoded = example.features, example.encoded
        row = self._columns.learn(features, encoded)
        if row is None:
            raise Refused("not_finite", "a feature is not a finite number, or too large to be squared")
        self.examples += 1
        if example.corrects is None:
            self._measure(example, label)
        for learner in self.learners.values():
            if learner.stopped is None:
                self._learn(learner, row, label, example.weight)
        self._encodings.update(features, label)
        self._canaries.append(snapshot.Canary(features, encoded, 0.0))

    def _learn(self, learner: Learner, row: Row, label: float, weight: float) -> None:
        try:
            learned = learner.model.learn(row, label, weight)
        except ModelError as error:
            self._stop(learner, error)
            return
        learner.failures += not learned
        learner.failed_in_a_row = 0 if learned else learner.failed_in_a_row + 1
        if learner.failed_in_a_row == HOPELESS:
            self._stop(learner, ModelError(f"learning failed {HOPELESS} times in a row"))

    def _label(self, example: Example) -> float:
        label = example.label
        if isinstance(label, bool) != (self._columns.plan.task == "binary"):
            raise Refused("label_type", f"the label {label!r} is not one of a {self._columns.plan.task} task")
        if not (isfinite(label) and abs(label) < LARGEST and 0.0 <= example.weight < LARGEST):
            raise Refused("not_finite", f"label {label!r} or weight {example.weight!r} is no number to learn from")
        return float(label)

    def _measure(self, example: Example, label: float) -> None:
        learner = self.learners.get(example.model.candidate)
        if learner:
            learner.measured.update(example.score, label)
        for challenger in example.challengers:
            learner = self.learners.get(challenger.candidate)
            if learner:
                learner.measured.update(challenger.score, label)

    def metrics(self) -> dict[str, dict[str, float]]:
        """The prequential measures by candidate."""
        return {name: learner.measured.report() for name, learner in self.learners.items()}

    def live(self, versions: Mapping[str, int]) -> LiveParameters | None:
        """The unsigned live parameters, given the last published versions; None before the first control record."""
        control = self.control
        if control is None:
            return None
        models = {name: it.model for name, it in self.learners.items() if isinstance(it.model, Linear)}
        return live.build(
            log_id=control.log_id, examples_offset=self.offset, spec=control.spec, columns=self._columns,
            encodings=self._encodings.tables(), models=models, versions=versions,
            label_came_in_ms=self.label_came_in_ms,
        )  # fmt: skip

    def parts(self, versions: Mapping[str, int]) -> dict[str, Part]:
        """Every candidate as scoring would serve it now, sharing the fold's own state: the next record changes it."""
        if self.spec is None or self.control is None:
            return {}
        pipeline, tables, log_id = self.spec.pipeline.name, self._encodings.tables(), self.control.log_id
        return {
            name: Part(
                ModelRef(pipeline, name, versions.get(name, 0), self.offset), log_id, self._columns, learner.model,
                tables, self.label_came_in_ms,
            )
            for name, learner in self.learners.items()
        }  # fmt: skip

    def snapshots(self) -> list[Taken]:
        """A snapshot of every candidate, all at this offset; none before the first control record.

        None either once a candidate has stopped, and the first that cannot be taken makes it stop: see
        :meth:`withdrawal`.
        """
        spec, control = self.spec, self.control
        if spec is None or control is None:
            return []
        taken: list[Taken] = []
        for learner in self.learners.values():
            if learner.stopped is not None:
                return []
            try:
                taken.append(self._snapshot(learner, spec.pipeline.name, control))
            except (ModelError, snapshot.SnapshotError) as error:
                self._stop(learner, error)
                return []
        return taken

    def _stop(self, learner: Learner, error: ModelError | snapshot.SnapshotError) -> None:
        learner.stopped = Withdrawn(learner.candidate.name, self.offset, str(error)[:_MAX_CAUSE])

    def withdrawal(self) -> Control | None:
        """The control record that withdraws the candidates that have stopped; None while all go on."""
        stopped = [it.stopped for it in self.learners.values() if it.stopped is not None]
        if self.control is None or not stopped:
            return None
        return msgspec.structs.replace(self.control, withdrawn=[*self.control.withdrawn, *stopped])

    def _snapshot(self, learner: Learner, pipeline: str, control: Control) -> Taken:
        payload = learner.model.dump()
        metrics = learner.measured.report()
        manifest = snapshot.Manifest(
            name=pipeline, candidate=learner.candidate, codec=learner.model.codec,
            spec=control.spec, pipeline=control.pipeline, log_id=control.log_id, examples_offset=self.offset,
            label_came_in_ms=self.label_came_in_ms, examples=self.examples, metrics=metrics,
            versions=snapshot.versions(), canaries=list(self._expected(learner.model)), withdrawn=control.withdrawn,
            failed_in_a_row=learner.failed_in_a_row,
        )  # fmt: skip
        measured = msgspec.msgpack.encode((learner.failures, learner.measured.state()))
        shared = snapshot.Shared(self._columns.state(), self._encodings.state(), measured)
        return Taken(learner.candidate.name, snapshot.write(manifest, shared, payload), metrics)

    def _expected(self, model: catalogue.Model) -> Iterator[snapshot.Canary]:
        for canary in self._canaries:
            row = self._columns.row(canary.features, canary.encoded)
            yield snapshot.Canary(canary.features, canary.encoded, model.score(row))

    @classmethod
    def restored(cls, snapshots: Sequence[snapshot.Snapshot]) -> Fold:
        """The fold as it was at the offset that the snapshots, one a candidate, were taken at.

        Raises SnapshotError if they are of different offsets, or not one for each candidate, or fail their canaries.
        """
        first = snapshots[0].manifest
        spec = from_canonical(first.pipeline)
        candidates = _remaining(spec, first.withdrawn)
        if {(it.manifest.log_id, it.manifest.examples_offset, it.manifest.spec) for it in snapshots} != {
            (first.log_id, first.examples_offset, first.spec)
        } or {it.manifest.candidate.name for it in snapshots} != {it.name for it in candidates}:
            message = "a fold is restored from one snapshot a candidate, all at one offset of one log"
            raise snapshot.SnapshotError(message)
        fold = cls()
        fold.offset, fold.examples, fold.spec = first.examples_offset, first.examples, spec
        fold.control = Control(first.log_id, first.spec, first.pipeline, first.withdrawn)
        fold.label_came_in_ms = first.label_came_in_ms
        fold._canaries.extend(first.canaries)
        shared = snapshots[0].shared
        fold._columns = Columns(shared.columns.plan, shared.columns)
        fold._encodings = Encodings(shared.columns.plan, shared.encodings)
        by_name = {it.manifest.candidate.name: it for it in snapshots}
        fold.learners = {it.name: fold._restored(by_name[it.name], spec) for it in candidates}
        return fold

    def _restored(self, taken: snapshot.Snapshot, spec: Spec) -> Learner:
        model = taken.model()
        snapshot.verify_canaries(model, self._columns, taken.manifest)
        failures, state = _METRICS.decode(taken.shared.metrics)
        table = spec.pipeline
        measured = Prequential(binary=table.task == "binary", threshold=table.threshold, state=state)
        return Learner(
            taken.manifest.candidate, model, measured, failures, failed_in_a_row=taken.manifest.failed_in_a_row
        )


def _remaining(spec: Spec, withdrawn: Sequence[Withdrawn]) -> list[Candidate]:
    dropped = {it.candidate for it in withdrawn}
    return [it for it in spec.model.candidates if it.name not in dropped]
