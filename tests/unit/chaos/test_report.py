"""What a person reads at the end of a run."""

from __future__ import annotations

from chaos import report
from chaos.recovery import Distribution
from chaos.run import Result


def result(*, violations: dict[str, list[str]]) -> Result:
    return Result(
        seed=7, seconds=60.0, acts={"kill": 3}, left_out={"pin: the registry did not take it": 2}, kills=3, restarts={}, counts={"raw events": 1200},
        recovery_ms={"restarted": Distribution(2, 5, 1500, 1900, 21_000, met=False)},
        unmeasured={"lanes that two processes claimed": 1}, violations=violations,
    )  # fmt: skip


def test_recoveries_stand_beside_the_kills_and_lanes_that_they_are_of() -> None:
    """A line has kills, lanes, median, 90th percentile, worst and the goal; what was not measured is told below."""
    told = list(report.lines(result(violations={"order kept": []})))
    at = next(place for place, line in enumerate(told) if line.startswith("recovery, seconds"))
    assert told[at].split() == ["recovery,", "seconds", "kills", "lanes", "median", "p90", "worst", "goal"]
    assert told[at + 1].split()[:6] == ["restarted", "2", "5", "1.50", "1.90", "21.00"]
    assert told[at + 1].endswith(": missed")
    assert told[at + 2] == "not measured: 1 lanes that two processes claimed"
    assert told[-1] == "Nothing lost, nothing twice."


def test_what_was_not_done_is_told_beside_what_was() -> None:
    """An act that had no effect is not among those counted, and has a line with its reason."""
    told = list(report.lines(result(violations={})))
    assert told[1].startswith("seed 7: 3 acts")
    assert told[3].split(maxsplit=2) == ["not", "done:", "2 pin: the registry did not take it"]


def test_violations_are_listed_up_to_a_number_and_counted() -> None:
    """Each is a line, the first twenty; the last line has all of them and the seed."""
    told = list(report.lines(result(violations={"order kept": [f"record {number}" for number in range(25)]})))
    assert sum(line.startswith("           - record") for line in told) == 20
    assert "           - and 5 more" in told
    assert told[-1] == "25 violations (seed 7)."
