"""The train stage's core: folds the examples' log and says when versions and live parameters are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from schemas.codec import encode
from schemas.examples import Control, Record
from schemas.parameters import LiveParameters
from services.domain import live
from services.domain.deadletters import dead_letter
from services.domain.records import Incoming, Out, Output, Standing
from services.domain.spec import duration
from services.learner.core import withdrawals
from services.learner.core.fold import Fold, Refused

LIVE_AT_LEAST_MS = 600_000
"""Live parameters are published this often, changed or not: the topic forgets after hours."""
LIVE_BYTES_PER_MS = 1_000
"""At most 1 MB of live parameters a second."""

_decode = msgspec.json.Decoder(Record).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)


class Train:
    """The one lane of training. ``fold`` may be restored from snapshots; ``partitions`` are those of ``deadletter``.

    ``versions`` holds the last published version of every candidate, as :meth:`published` was told, ``control_offset``
    is where the control record in force lies.
    """

    def __init__(self, fold: Fold | None = None) -> None:
        self.fold = fold or Fold()
        self.totals: dict[str, int] = {"examples": 0, "corrections": 0, "controls": 0}
        self.versions: dict[str, int] = {}
        self.control_offset: int | None = None
        self._version_at: int | None = None
        self._version_examples = 0
        self._live_at: int | None = None
        self._live_offset = -1
        self._live_pause_ms = 0
        self._snapshot: str | None = None

    def process(self, batch: Sequence[Incoming], _now: int) -> Output:
        """Fold records in order; what cannot be folded goes to ``deadletter``, and nothing else goes anywhere."""
        output = Output()
        totals = self.totals
        for record in batch:
            try:
                kind = self._apply(record)
            except Refused as error:
                letter = dead_letter(record, "train", error.rule, str(error), error)
                output.to("deadletter", record.partition).append(letter)
                kind = f"deadletter.{error.rule}"
            totals[kind] = totals.get(kind, 0) + 1
        return output

    def refold(self, batch: Sequence[Incoming]) -> None:
        """Fold again what the checkpoint says was folded before: counts nothing and sends nothing."""
        for record in batch:
            try:
                self._apply(record)
            except Refused:
                continue

    def _apply(self, record: Incoming) -> str:
        try:
            decoded = _decode(record.value)  # type: ignore[arg-type]
        except _UNREADABLE as error:
            self.fold.offset = record.offset + 1
            raise Refused("undecodable", f"not a record of examples: {error}") from error
        self.fold.apply(decoded, record.offset, record.timestamp)
        if isinstance(decoded, Control):
            self.control_offset = record.offset
            return "controls"
        return "examples" if decoded.corrects is None else "corrections"

    def standing(self) -> Standing:
        """Names the last snapshot, from which and the log the fold is rebuilt, and the control record in force."""
        return Standing(snapshot=self._snapshot, control=self.control_offset)

    def control_due(self, spec: str) -> bool:
        """Whether the log has no control record for the pipeline file with this hash in force.

        Ask once the log has been read to its end.
        """
        return self.fold.control is None or self.fold.control.spec != spec

    def change(self, control: Control, now: int) -> Output:
        """What changes the fold: the control record for the log, and the alerts that come of it."""
        output = Output()
        output.to("examples", 0).append(Out(b"control", encode(control), now))
        output.to("alerts", 0).extend(withdrawals.alerts(self.fold.control, control, self.versions, now))
        return output

    def versions_due(self, now: int) -> bool:
        """Whether every candidate is to be published: one never was, or so many examples and seconds have passed.

        All are published together, so that a fold can be restored from them. ``now`` is in ms.
        """
        spec = self.fold.spec
        if spec is None:
            return False
        if not self.versions.keys() >= self.fold.learners.keys():
            return True
        enough = self.fold.examples - self._version_examples >= spec.snapshots.every_examples
        return enough and _passed(self._version_at, now, _ms(duration(spec.snapshots.every)))

    def published(self, versions: Mapping[str, int], examples: int, now: int, snapshot: str | None = None) -> None:
        """Remember what was published: versions by candidate, of the state after so many examples.

        ``snapshot`` is what the checkpoint is to name from now on.
        """
        self.versions.update(versions)
        self._version_at, self._version_examples = now, examples
        self._live_offset = -1  # the record names versions: it has changed
        self._snapshot = snapshot or self._snapshot

    def live_due(self, now: int) -> bool:
        """Whether live parameters are to be published: something changed and not too soon, or long ago."""
        spec = self.fold.spec
        if spec is None or not self.versions:
            return False
        pause = max(_ms(duration(spec.snapshots.live_every)), self._live_pause_ms)
        changed = self.fold.offset != self._live_offset
        return _passed(self._live_at, now, pause if changed else LIVE_AT_LEAST_MS)

    def live(self) -> LiveParameters | None:
        """The live parameters to sign and publish, or None when there are none."""
        return self.fold.live(self.versions)

    def encodings(self) -> LiveParameters | None:
        """The same without any candidate: what is published where all of it is too large."""
        return self.fold.live({})

    def live_published(self, size: int, offset: int, now: int) -> bool:
        """Remember that parameters of ``size`` bytes, at this examples offset, are to be published.

        False when they are too large for it: then scoring follows versions, and is sent :meth:`encodings`.
        """
        self._live_at, self._live_offset, self._live_pause_ms = now, offset, size // LIVE_BYTES_PER_MS
        return size <= live.MAX_BYTES


def _passed(since: int | None, now: int, pause: int) -> bool:
    """Whether ``pause`` ms have passed; a clock set back counts as passed."""
    return since is None or not since <= now < since + pause


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
