"""The statistics of one source (predictions or examples) and its open incidents, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from services.drift.core.blocks import BlockSums
from services.drift.core.cusum import Cusum, Verdict, threshold
from services.drift.core.incidents import CRITICAL, MOST_OPEN, MOST_UPDATES, TOGETHER, Incident, Member
from services.drift.core.statistics import Observation, observations

MOST_BYTES = 68_000
"""What statistics and their incidents may take together, by a generous estimate, so that a checkpoint stays within
60 KiB: some sixty numeric features with three statistics each, in the order of the pipeline file; later ones are not
watched."""
_ALL_DAY = 86_400.0


class Told(NamedTuple):
    """A step of an incident that people should hear of."""

    state: Literal["opened", "updated", "resolved"]
    incident: Incident
    threshold: float


class Watch(msgspec.Struct):
    """State and step of one source. ``first_end`` and ``blocks`` give blocks a day, which the threshold depends on;
    ``threshold`` is the last one in force, 0 before the first.
    """

    statistics: dict[str, Cusum] = {}
    incidents: list[Incident] = []
    blocks: int = 0
    first_end: datetime | None = None
    spent: int = 0
    threshold: float = 0.0

    def step(self, block: BlockSums, rate: float, watched: int, incident_id: str) -> list[Told]:
        """Fold a block: ``rate`` is false alarms a day over ``watched`` statistics of all sources;
        ``incident_id`` names an incident that this block opens.
        """
        self.first_end = self.first_end or block.end
        self.blocks += 1
        if self.blocks == 1:  # lanes have only begun to know the features
            return []
        h = self.threshold = self._threshold(block.end, rate, watched)
        held, flagged = set(), {}
        for seen in observations(block):
            held.add(seen.signal)
            if self._judge(seen, h) is Verdict.FLAGGED:
                flagged[seen.signal] = seen
        for signal in self.statistics:
            if signal not in held:
                self._miss(signal)
        opened = self._join(flagged, incident_id) if flagged else None
        return list(self._tell(opened, h))

    def _threshold(self, end: datetime, rate: float, watched: int) -> float:
        days = (end - (self.first_end or end)).total_seconds() / _ALL_DAY
        blocks_per_day = (self.blocks - 1) / days if days > 0 else 1.0
        return threshold(rate, blocks_per_day, 2 * max(watched, 1))

    def _judge(self, seen: Observation, h: float) -> Verdict:
        cusum = self.statistics.get(seen.signal)
        if cusum is None:
            cost = 240 + 4 * len(seen.signal.encode())
            if self.spent + cost > MOST_BYTES:
                return Verdict.NOTHING
            self.spent += cost
            cusum = self.statistics[seen.signal] = Cusum()
        verdict = cusum.step(seen.value, seen.level, seen.noise, h, falls=seen.falls)
        if verdict in {Verdict.CAME_BACK, Verdict.NEW_NORMAL}:
            self._end_member(seen.signal, "recovered" if verdict is Verdict.CAME_BACK else "accepted")
        elif cusum.out:
            self._follow(seen.signal, cusum)
        return verdict

    def _miss(self, signal: str) -> None:
        if self.statistics[signal].miss() is Verdict.NEW_NORMAL:
            self._end_member(signal, "accepted")

    def _member(self, signal: str) -> Member | None:
        found = (i.members[signal] for i in self.incidents if signal in i.members and not i.members[signal].ended)
        return next(found, None)

    def _end_member(self, signal: str, how: Literal["recovered", "accepted"]) -> None:
        member = self._member(signal)
        if member:
            member.ended = how

    def _follow(self, signal: str, cusum: Cusum) -> None:
        member = self._member(signal)
        if member:
            member.follow(cusum)

    def _join(self, flagged: dict[str, Observation], incident_id: str) -> Incident | None:
        newest = self.incidents[-1] if self.incidents else None
        joins = newest and (self.blocks - newest.flagged <= TOGETHER or len(self.incidents) >= MOST_OPEN)
        opened = None
        if newest is None or not joins:
            strongest = max(flagged, key=lambda signal: (self.statistics[signal].strength, signal))
            newest = opened = Incident(incident_id, strongest, self.blocks, {})
            self.incidents.append(newest)
        newest.flagged = self.blocks
        for signal, seen in flagged.items():
            cusum = self.statistics[signal]
            member = Member(seen.subject, seen.what, 0.0, cusum.reference.level, cusum.level)
            member.follow(cusum)
            newest.members[signal] = member
        return opened

    def _tell(self, opened: Incident | None, h: float) -> Iterator[Told]:
        for incident in self.incidents:
            first = incident.ranked()[0]
            incident.critical = incident.critical or first.strength >= CRITICAL
            now = (first.subject, incident.severity)
            if incident is opened:
                incident.told = now
                yield Told("opened", incident, h)
            elif incident.is_over:
                yield Told("resolved", incident, h)
            elif now != incident.told and incident.updates < MOST_UPDATES:
                incident.told = now
                incident.updates += 1
                yield Told("updated", incident, h)
        self.incidents = [incident for incident in self.incidents if not incident.is_over]
