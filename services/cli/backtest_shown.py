"""How a backtest is shown on the terminal: its progress, then its measures, account, repairs and incidents."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from services.cli import terminal
from services.cli.account import Account
from services.cli.backtest_measures import Measured
from services.cli.backtest_run import Incident, Result
from services.cli.offline import Raw
from services.cli.report import NAMES, lag

_FORMATS = {"hour": "%Y-%m-%d %H:00", "day": "%a %Y-%m-%d", "week": "%Y-%m-%d", "month": "%B %Y"}
_PLAIN_S = 10.0
_MOST_RULES = 12


class Progress:
    """A bar with the time left on a terminal, elsewhere a line every ten seconds; both on standard error."""

    def __init__(self, expected: int | None) -> None:
        self._expected = expected
        self._terminal = sys.stderr.isatty()
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True, disable=not self._terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("reading", total=expected)
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, count: int, last: Raw | None) -> None:
        """So many records are through; ``last`` is the newest."""
        day = f"{datetime.fromtimestamp(last.timestamp / 1000, UTC):%Y-%m-%d}" if last else ""
        if self._terminal:
            total = None if self._expected is None else max(self._expected, count)
            self._bar.update(self._task, completed=count, description=day, total=total)
            return
        now = time.monotonic()
        if now - self._told >= _PLAIN_S:
            self._told = now
            print(f"{day}  {count:,} records{self._left(count, now)}", file=sys.stderr, flush=True)

    def _left(self, count: int, now: float) -> str:
        if not self._expected or count >= self._expected:
            return ""
        left = (now - self._began) * (self._expected - count) / count
        return f"  {100 * count // self._expected} %, {left:.0f} s left"


def show(result: Result, zone: tzinfo, report: Path | None) -> None:
    """Everything, for people."""
    console = terminal.console()
    if result.stopped:
        console.print("[yellow]Stopped: what follows is of the records until then.[/]\n")
    console.print(over_time(result, zone))
    console.print(_incidents(result.incidents, zone))
    for title, counts in (
        ("Repairs, by rule", result.repairs),
        ("Dead letters, by stage and rule", result.dead_letters),
    ):
        if counts:
            console.print(_counts(title, counts))
    account = Account(result.pipeline, result.balanced, result.account, [], result.totals)
    console.print("[bold]Account[/]")
    for line in terminal.account_lines(account):
        console.print(line)
    console.print(f"\n{_said(result)}")
    if report is not None:
        console.print(f"The plots are in {report}")


def over_time(result: Result, zone: tzinfo) -> Table:
    """Measures by period, a pair of columns a candidate, and the whole."""
    names = [name for name in NAMES if any(name in each.measures for each in result.total)]
    heads = [f"{candidate} {NAMES[name]}" for candidate in result.candidates for name in names]
    columns = [result.period, "examples", *(["true"] if "auc" in names else []), *heads]
    rows = [
        _row(when.astimezone(zone).strftime(_FORMATS[result.period]), list(group), names, result.candidates)
        for when, group in groupby(result.over_time, key=lambda each: each.start)
    ]
    if result.total:
        rows.append(_row("all", result.total, names, result.candidates))
    title = "Measured on predictions made before their labels were known"
    return terminal.table(title, columns, rows, right=range(1, len(columns)))


def _row(when: str, found: list[Measured], names: list[str], candidates: list[str]) -> list[object]:
    by_name = {each.candidate: each for each in found}
    first = by_name.get(candidates[0], found[0])
    cells: list[object] = [when, first.examples]
    if "auc" in names:
        cells.append(f"{100 * first.measures['true']:.1f} %")
    for candidate in candidates:
        said = by_name[candidate].measures if candidate in by_name else {}
        cells += [f"{said[name]:.4f}" if name in said else "-" for name in names]
    return cells


def _incidents(incidents: list[Incident], zone: tzinfo) -> Table | str:
    if not incidents:
        return "\nNo drift incident.\n"
    rows = [
        [
            _minute(each.opened, zone), _minute(each.ended, zone) if each.ended else "open",
            each.resolution or "", each.severity, "; ".join(each.suspects[:3]) or each.signal,
        ]
        for each in incidents
    ]  # fmt: skip
    return terminal.table("\nDrift incidents", ["opened", "resolved", "as", "severity", "suspects"], rows)


def _minute(when: datetime, zone: tzinfo) -> str:
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M}"


def _counts(title: str, counts: dict[str, int]) -> Table:
    rows = list(counts.items())[:_MOST_RULES]
    if len(counts) > len(rows):
        rows.append(("others", sum(counts.values()) - sum(count for _, count in rows)))
    return terminal.table(title, ["rule", "records"], rows, right=[1])


def _said(result: Result) -> str:
    each = 1e6 * result.cpu_seconds / max(result.records, 1)
    return (
        f"{result.records:,} records in {result.seconds:.1f} s ({result.cpu_seconds:.1f} s of CPU, {each:.0f} µs a "
        f"record), {result.partitions} partitions, labels {lag(result)}"
    )
