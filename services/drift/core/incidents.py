"""What moves together is one incident: who is suspected, how bad it is, when it is over."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.alerts import Suspect
from services.drift.core.cusum import Cusum

TOGETHER = 6
"""A flag joins the newest open incident up to this many blocks after that one's newest flag."""
MOST_OPEN = 8
"""Open incidents of one source; further flags join the newest."""
MOST_UPDATES = 3
CRITICAL = 4.0
"""Mean deviation beyond the allowance, of the first suspect, from which an incident is critical."""
MOST_SUSPECTS = 10
MEAN_TELLS = 2.0

Kind = Literal["drift", "performance", "data_quality"]
Severity = Literal["warning", "critical"]
Resolution = Literal["recovered", "accepted"]
_NOUNS = {
    "mean": "mean", "spread": "standard deviation", "missing": "share of missing values", "score": "mean score",
    "loss": "loss",
}  # fmt: skip
_KINDS: dict[str, Kind] = {"missing": "data_quality", "loss": "performance"}


class Member(msgspec.Struct):
    """A statistic in an incident, with its evidence so far; ``ended`` once it came back or was accepted."""

    subject: str
    what: str
    strength: float
    before: float
    after: float
    blocks: int = 0
    ended: Resolution | None = None

    @property
    def weight(self) -> float:
        """Strength, doubled for a mean: where it moved as well, it says more to a person than a spread."""
        return self.strength * (MEAN_TELLS if self.what == "mean" else 1.0)

    def follow(self, cusum: Cusum) -> None:
        """Take over what the statistic has shown up to this block."""
        self.strength, self.after, self.blocks = cusum.strength, cusum.level, cusum.run.blocks


class Incident(msgspec.Struct):
    """An open incident; ``flagged`` is the block (counted by source) of its newest flag, ``alerts`` those told so far."""

    incident_id: str
    signal: str
    flagged: int
    members: dict[str, Member]
    alerts: int = 0
    updates: int = 0
    told: tuple[str, str] = ("", "")
    critical: bool = False

    @property
    def is_over(self) -> bool:
        """No statistic is out any more."""
        return all(member.ended for member in self.members.values())

    def ranked(self) -> list[Member]:
        """The most telling statistic of each subject, strongest subject first."""
        best: dict[str, Member] = {}
        for member in self.members.values():
            if member.subject not in best or member.weight > best[member.subject].weight:
                best[member.subject] = member
        return sorted(best.values(), key=lambda member: (-member.weight, member.subject))

    def suspects(self) -> list[Suspect]:
        """Subjects by their share of all subjects' evidence."""
        ranked = self.ranked()
        total = sum(member.weight for member in ranked) or 1.0
        return [
            Suspect(member.subject, round(member.weight / total, 4), member.before, member.after, _NOUNS[member.what])
            for member in ranked[:MOST_SUSPECTS]
        ]

    @property
    def kind(self) -> Kind:
        """By the first suspect's statistic."""
        return _KINDS.get(self.ranked()[0].what, "drift")

    @property
    def severity(self) -> Severity:
        """Critical once the first suspect's evidence was."""
        return "critical" if self.critical else "warning"

    @property
    def resolution(self) -> Resolution:
        """How the first suspect ended."""
        return self.ranked()[0].ended or "recovered"

    def summary(self) -> str:
        """One sentence a person reads first."""
        first, *others = self.ranked()
        moved = "" if not others else f", with {len(others)} more that moved"
        subject = "" if first.what == "score" else f"{first.subject}: "
        return f"{subject}{_NOUNS[first.what]} {first.before:.4g} -> {first.after:.4g}{moved}"
