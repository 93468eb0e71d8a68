"""Scoring's core: clean events in, predictions out, with whatever state is served at the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.codec import encode
from schemas.events import Value
from schemas.predictions import ChallengerScore
from services.domain.deadletters import dead_letter
from services.domain.records import MAX_VALUE_BYTES, Incoming, Out, Output, Standing
from services.domain.served import Served


class _Event(msgspec.Struct, gc=False):
    """What is read of a record of ``events.clean``; its features are decoded to be scored, and passed on as they came."""

    event_id: str
    time: datetime
    features: msgspec.Raw
    spec: str


class _Prediction(msgspec.Struct, gc=False):
    """A record of ``predictions``, parts of which are JSON already."""

    event_id: str
    time: datetime
    score: float
    prediction: bool | float
    model: msgspec.Raw
    encodings_offset: int
    challengers: list[ChallengerScore]
    features: msgspec.Raw
    encoded: dict[str, list[float]]
    spec: str


_decode = msgspec.json.Decoder(_Event).decode
_decode_features = msgspec.json.Decoder(dict[str, Value]).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)


class Score:
    """One lane of scoring: ``lane`` is the partition it reads and writes, of ``partitions``.

    It has no state but its totals; :meth:`serve` must have been called before :meth:`process`.
    """

    def __init__(self, lane: int, partitions: int, *, binary: bool, threshold: float = 0.5) -> None:
        self.totals: dict[str, int] = {"in": 0, "predictions": 0}
        self._lane = lane
        self._deadletter = lane % partitions
        self._binary = binary
        self._threshold = threshold
        self._served: Served | None = None

    def serve(self, served: Served) -> None:
        """Score with this state from the next batch on."""
        self._served = served

    @property
    def served(self) -> Served | None:
        """What is served now; None: nothing yet, and no batch may be processed."""
        return self._served

    def process(self, batch: Sequence[Incoming], _now: int) -> Output:
        """One prediction or one dead letter for each event, with its Kafka timestamp."""
        served = self._served
        if served is None:
            message = "no champion is served yet: the lane must wait for one before it fetches events"
            raise RuntimeError(message)
        output = Output()
        send = output.to("predictions", self._lane).append
        champion = served.champion.ref
        model = msgspec.Raw(encode(champion))
        for record in batch:
            try:
                event = _decode(record.value)  # type: ignore[arg-type]
                scored = served.score_numbers(event.features)
                if scored is None:
                    features = _decode_features(event.features)
            except _UNREADABLE as error:
                self._reject(output, record, "undecodable", f"not a clean event: {error}", error)
                continue
            encoded: dict[str, list[float]] = {}
            try:
                if scored is None:
                    encoded = served.encodings.encode(features)
                    scored = served.score(features, encoded)
            except Exception as error:  # noqa: BLE001 - the champion may be any estimator; no event may stop the lane
                message = f"{champion.candidate} version {champion.version} cannot score it: {error}"
                self._reject(output, record, "unscorable", message, error)
                continue
            score, challengers = scored
            value = encode(
                _Prediction(
                    event.event_id, event.time, score, score >= self._threshold if self._binary else score, model,
                    served.encodings_offset, challengers, event.features, encoded, event.spec,
                )
            )  # fmt: skip
            if len(value) > MAX_VALUE_BYTES - 1024:
                message = f"its prediction has {len(value)} bytes, more than the topic takes"
                self._reject(output, record, "output_too_large", message)
                continue
            send(Out(event.event_id.encode(), value, record.timestamp))
        self.totals["in"] += len(batch)
        self.totals["predictions"] += len(output.sends["predictions", self._lane])
        return output

    def _reject(
        self, output: Output, record: Incoming, rule: str, message: str, error: Exception | None = None
    ) -> None:
        output.to("deadletter", self._deadletter).append(dead_letter(record, "score", rule, message, error))
        total = f"deadletter.{rule}"
        self.totals[total] = self.totals.get(total, 0) + 1

    def standing(self) -> Standing:
        """Scoring keeps nothing: a checkpoint holds its offsets and totals."""
        return Standing()
