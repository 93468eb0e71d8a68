"""How the demo ends: what was measured, whether the account balances, whether the drift was told."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from schemas.alerts import Alert
from services.cli import target
from services.cli.account import Account
from services.cli.demo_compare import AGREE_WITHIN, Compared
from services.cli.live_view import incident_line
from services.cli.scrape import Process, Sample
from services.cli.supervise import Supervisor
from services.cli.terminal import account_lines
from services.runtime.registry_client import RegistryError, connected

DRIFT_FROM = datetime(2013, 2, 14, tzinfo=UTC)
DRIFT_TO = datetime(2013, 2, 22, 5, tzinfo=UTC)
_TOLD_WITHIN = timedelta(days=2)
_ELSEWHERE = ("RIVERMILL_BROKER", "RIVERMILL_REGISTRY_URL", "RIVERMILL_SECURITY_PROTOCOL")
"""Settings of a shell that lead a command, but never the demo, to another broker or registry."""


class Result(msgspec.Struct):
    """The demo's measurements, for programs (``--json``). Times are seconds; ``throughput`` is raw events a second.

    ``freshness_median_s`` ends at the commit of the first predictions made with a label, ``label_lag_median_s`` at the
    arrival of their events: those have waited to be scored meanwhile, and a backtest knows no such wait.
    """

    days: int
    speed: str
    first_prediction_s: float | None
    predicted_in_s: float | None
    throughput: float | None
    freshness_median_s: float | None
    label_lag_median_s: float | None
    candidate: str | None
    metrics: dict[str, dict[str, float]]
    processes: dict[str, Process]
    restarts: dict[str, int]
    incidents: list[Alert]
    drift_found: bool | None
    drift_recovered: bool | None
    settled: bool
    account: Account
    compared: Compared | None


def drift_told(alerts: Sequence[Alert], until: datetime) -> tuple[bool | None, bool | None]:
    """Whether the kilometres were told within two days, ``distance`` first, and their end as recovered; None: too early."""
    incidents = {
        alert.incident_id
        for alert in alerts
        if alert.state != "resolved"
        and DRIFT_FROM <= alert.detected_at <= DRIFT_FROM + _TOLD_WITHIN
        and alert.suspects
        and alert.suspects[0].feature == "distance"
    }
    recovered = any(alert.incident_id in incidents and alert.resolution == "recovered" for alert in alerts)
    return (
        bool(incidents) if until >= DRIFT_FROM + _TOLD_WITHIN else None,
        recovered if until >= DRIFT_TO + _TOLD_WITHIN else None,
    )


async def final_metrics(supervisor: Supervisor, sample: Sample) -> dict[str, dict[str, float]]:
    """Prequential metrics by candidate: the learner's gauges, or the newest version's where it has seen more."""
    found = {name: dict(metrics) for name, metrics in sample.prequential.items()}
    deployment = supervisor.deployment
    try:
        async with connected(deployment.settings, "demo") as client:
            for candidate in deployment.spec.model.candidates:
                page = await client.versions(deployment.name, candidate=candidate.name, limit=1)
                newest = {name: value for name, value in page.items[0].metrics.items() if value is not None}
                if newest.get("examples", 0) > found.get(candidate.name, {}).get("examples", 0):
                    found[candidate.name] = newest
    except (RegistryError, IndexError):
        pass
    return found


async def processes(supervisor: Supervisor, sample: Sample) -> dict[str, Process]:
    """CPU and memory of every process; the broker's and this one's from /proc, where there is one."""
    used = dict(sample.processes)
    pids = {name: pid for name, pid in supervisor.pids.items() if name not in used} | {"demo": os.getpid()}
    for name, pid in pids.items():
        if (found := await asyncio.to_thread(_used, pid)) is not None:
            used[name] = found
    return used


def _used(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        resident = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
    return Process((int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"), resident / 1e6)


def show(console: Console, result: Result) -> None:
    """The end, for a person."""
    console.print("\n[bold]Account[/]" + ("" if result.settled else " [red](not all was worked off in time)[/]"))
    for line in account_lines(result.account):
        console.print(line)
    console.print("\n[bold]Incidents[/] " + (f"{_count(result.incidents)} in all" if result.incidents else "none"))
    for alert in result.incidents:
        if alert.state != "updated":
            console.print(f"  {escape(incident_line(alert))}")
    _verdict(console, result.drift_found, "the kilometres were told within two days of flights, distance first")
    _verdict(console, result.drift_recovered, "and resolved as recovered once the unit was right again")
    console.print("\n[bold]Measured[/]")
    for candidate, metrics in result.metrics.items():
        mark = " (champion)" if candidate == result.candidate else ""
        console.print(f"  {candidate}{mark}: {_metrics(metrics)}")
    if (both := result.compared) is not None:
        console.print(
            f"  {both.candidate} in a backtest of the same events, labels {both.label_lag_s / 3600:.1f} h late as they were "
            f"here: {_metrics(both.backtest)}"
        )
        _verdict(console, both.agree, f"live and backtest agree: AUC within {AGREE_WITHIN}")
    if result.freshness_median_s is not None:
        console.print(
            f"  freshness: {result.freshness_median_s * 1000:.0f} ms from a label to predictions made with it (median)"
        )
    if result.throughput is not None:
        console.print(
            f"  throughput: {result.throughput:,.0f} raw events a second to predictions, from the first sent to the last predicted"
        )
    used = ", ".join(
        f"{name} {each.cpu_seconds:.0f} s/{each.resident_mb:.0f} MB" for name, each in result.processes.items()
    )
    console.print(f"  CPU and memory: {used}")


def told_to_find(data_dir: Path) -> str:
    """The option by which a command of the same shell finds this process's demo; empty if it does by itself."""
    found = target.running_here(target.default_data_dir())
    return "" if found is not None and found.pid == os.getpid() else f" --data-dir {shlex.quote(str(data_dir))}"


def look_next(console: Console, supervisor: Supervisor) -> None:
    """Where to look now."""
    deployment = supervisor.deployment
    console.print(f"\n[bold]Look next[/]\n  registry  {deployment.settings.registry_url}/")
    for name, url in supervisor.endpoints.items():
        console.print(f"  {name:<9} {url}/metrics")
    if elsewhere := [name for name in _ELSEWHERE if os.environ.get(name)]:
        console.print(f"  unset {' '.join(elsewhere)}  [dim]# or the commands ask there[/]")
    told = told_to_find(supervisor.data_dir)
    for command in ("tail alerts --from-beginning", "tail predictions", "status", "deadletter list", "models log"):
        console.print(f"  rivermill {command}{told}")


def _verdict(console: Console, found: bool | None, what: str) -> None:
    if found is not None:
        console.print(f"  {'[green]✓[/]' if found else '[red]✗ not so:[/]'} {what}")


def _metrics(metrics: Mapping[str, float]) -> str:
    shown = [
        f"{name.replace('_', ' ')} {metrics[name]:.4f}"
        for name in ("auc", "log_loss", "rmse", "mae")
        if name in metrics
    ]
    return ", ".join([*shown, f"on {metrics.get('examples', 0):,.0f} labels"])


def _count(alerts: Sequence[Alert]) -> int:
    return len({alert.incident_id for alert in alerts})
