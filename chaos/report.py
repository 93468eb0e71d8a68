"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.recovery import GOALS_MS, PAUSE_MS, WORST_MS
from chaos.run import Result

_LISTED = 20


def lines(result: Result) -> Iterator[str]:
    """Counts, recoveries against their goals, and the verdict with the records concerned."""
    yield ""
    yield f"seed {result.seed}: {sum(result.acts.values())} acts in {result.seconds:.0f} s, {result.kills} of them kill -9"
    yield from _columns("acts", result.acts)
    yield from (f"  {'':6} not done: {count} {what}" for what, count in result.left_out.items())
    yield from _columns("read", result.counts)
    yield ""
    yield f"{'recovery, seconds':36} {'kills':>6} {'lanes':>6} {'median':>7} {'p90':>7} {'worst':>7}  goal"
    for name, each in result.recovery_ms.items():
        times = " ".join(f"{value / 1000:7.2f}" for value in (each.median, each.p90, each.worst))
        yield f"{name:36} {each.kills:6} {each.lanes:6} {times}  {_goal(name)}: {'met' if each.met else 'missed'}"
    left_out = ", ".join(f"{count} {what}" for what, count in result.unmeasured.items())
    yield f"not measured: {left_out or 'none'}"
    yield ""
    for check, violations in result.violations.items():
        yield f"{'violated' if violations else 'holds':>9}  {check}"
        yield from (f"           - {violation}" for violation in violations[:_LISTED])
        if len(violations) > _LISTED:
            yield f"           - and {len(violations) - _LISTED:,} more"
    yield ""
    count = sum(len(each) for each in result.violations.values())
    yield "Nothing lost, nothing twice." if result.holds else f"{count:,} violations (seed {result.seed})."


def _goal(name: str) -> str:
    if name == "pause":
        return f"worst {PAUSE_MS / 1000:g} s"
    median = f"median {GOALS_MS[name] / 1000:g} s, " if name in GOALS_MS else ""
    return f"{median}worst {WORST_MS / 1000:g} s"


def _columns(title: str, counts: dict[str, int]) -> Iterator[str]:
    told = [f"{name} {count:,}" for name, count in counts.items()]
    for start in range(0, len(told), 6):
        yield f"  {title if start == 0 else '':6} {', '.join(told[start : start + 6])}"
