"""The served state: the encodings, the champion and the challengers that scoring computes one prediction with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from schemas.models import AliasRecord
from schemas.predictions import ChallengerScore, ModelRef
from services.domain.catalogue import Model
from services.domain.columns import Columns, Row
from services.domain.encodings import ServedEncodings
from services.domain.linear import Linear
from services.domain.plan import Encoded, Features
from services.domain.together import NO_NUMBERS, numbers_together, together


class Part(msgspec.Struct, frozen=True):
    """One candidate's state: what to score with, and what a prediction says of it."""

    ref: ModelRef
    log_id: str
    columns: Columns
    model: Model
    encodings: ServedEncodings
    """As of the same offset."""
    label_came_in_ms: int
    """Kafka timestamp of the newest label in the model, 0 for none."""

    @property
    def position(self) -> tuple[str, int]:
        """Which state is newer: the greater log id, then the greater offset."""
        return self.log_id, self.ref.examples_offset


class Live(msgspec.Struct, frozen=True):
    """What a record of live parameters holds: the candidates that are small enough, and the encodings in any case."""

    parts: Mapping[str, Part] = {}
    encodings: ServedEncodings | None = None
    """None: there has been no such record yet."""
    position: tuple[str, int] = ("", -1)
    """Of the encodings, as :attr:`Part.position`."""


class Served:
    """What a lane of scoring serves until the next swap. ``failures`` counts challengers' scores that failed."""

    __slots__ = (
        "_challengers",
        "_key",
        "_of_numbers",
        "_row_wanted",
        "_together",
        "champion",
        "encodings",
        "encodings_offset",
        "failures",
    )

    def __init__(
        self, champion: Part, challengers: Sequence[Part], encodings: ServedEncodings, encodings_offset: int
    ) -> None:
        self.champion = champion
        self.encodings = encodings
        self.encodings_offset = encodings_offset
        self.failures = 0
        self._key = tuple((part.log_id, part.ref) for part in (champion, *challengers)), encodings_offset
        alike = [part for part in (champion, *challengers) if part.columns is champion.columns]
        linear = [part.model for part in alike if isinstance(part.model, Linear)]
        self._together = together(champion.columns, linear) if isinstance(champion.model, Linear) else _none
        self._row_wanted = len(linear) < len(alike)
        alone = len(linear) == 1 + len(challengers) and not encodings.tables
        self._of_numbers = numbers_together(champion.columns, linear) if alone else None
        self._challengers = [
            (
                linear.index(part.model) if part.columns is champion.columns and part.model in linear else 0,
                part.columns, part.model, part.ref.candidate, part.ref.version, part.ref.examples_offset,
            )
            for part in challengers
        ]  # fmt: skip

    @property
    def challengers(self) -> int:
        """How many are scored beside the champion."""
        return len(self._challengers)

    def key(self) -> object:
        """Equal for two that serve the same: the states of champion and challengers, and the encodings' offset."""
        return self._key

    def score(self, features: Features, encoded: Encoded) -> tuple[float, list[ChallengerScore]]:
        """The champion's score and the challengers', of the same features.

        Raises what the champion raises; a challenger that fails is left out and counted.
        """
        try:
            known = self._together(features, encoded)
        except (KeyError, ValueError, IndexError):
            known = []
        row = None
        if not known or self._row_wanted:
            row = self.champion.columns.row(features, encoded)
        score = known[0] if known or row is None else self.champion.model.score(row)
        return score, self._others(features, encoded, known, row) if self._challengers else []

    def score_numbers(self, features: msgspec.Raw) -> tuple[float, list[ChallengerScore]] | None:
        """What :meth:`score` says, to the bit, of features as they came; None: decode them, and ask there.

        It scores events of numbers alone with linear models that have the same columns.
        """
        if self._of_numbers is None:
            return None
        try:
            known = self._of_numbers(features, {})
        except NO_NUMBERS:
            return None
        if not self._challengers:
            return known[0], []
        return known[0], [
            ChallengerScore(candidate, version, offset, known[place])
            for place, _, _, candidate, version, offset in self._challengers
        ]

    def _others(
        self, features: Features, encoded: Encoded, known: Sequence[float], row: Row | None
    ) -> list[ChallengerScore]:
        scores = []
        for place, columns, model, candidate, version, offset in self._challengers:
            try:
                if known and place:
                    other = known[place]
                elif row is None or columns is not self.champion.columns:
                    other = model.score(columns.row(features, encoded))
                else:
                    other = model.score(row)
            except Exception:  # noqa: BLE001 - a challenger is any estimator; it must not cost a prediction
                self.failures += 1
            else:
                scores.append(ChallengerScore(candidate, version, offset, other))
        return scores


def _none(_features: Features, _encoded: Encoded) -> list[float]:
    return []


def assemble(
    champion: AliasRecord, challengers: Sequence[AliasRecord], live: Live, stored: Mapping[str, Part]
) -> Served | None:
    """What the aliases ask for, from live state and loaded snapshots by sha256; None if it lacks the champion.

    An alias that is live takes the newer of both, a pinned one exactly its snapshot. Challengers at hand are served,
    others left out. The encodings are the newest there are, also beside a pinned champion.
    """
    first = _chosen(champion, live.parts, stored)
    if first is None:
        return None
    others = [part for alias in challengers if (part := _chosen(alias, live.parts, stored)) is not None]
    newest = max([first, *others], key=lambda part: part.position)
    encodings, position = newest.encodings, newest.position
    if live.encodings is not None and live.position >= position:
        encodings, position = live.encodings, live.position
    return Served(first, [part for part in others if part.ref.candidate != first.ref.candidate], encodings, position[1])


def _chosen(alias: AliasRecord, live: Mapping[str, Part], stored: Mapping[str, Part]) -> Part | None:
    pinned = stored.get(alias.snapshot_sha256)
    current = live.get(alias.candidate)
    if not alias.live or current is None:
        return pinned
    return current if pinned is None or current.position >= pinned.position else pinned
