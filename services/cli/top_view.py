"""What `rivermill top` shows of one moment: fits 80 columns and 24 rows, and takes more rows where there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from schemas.alerts import Alert
from services.cli.live_view import incident_line, ledger, number, refused, seconds, stages
from services.cli.scrape import Sample
from services.cli.terminal import table

_ROWS = 24
_PROCESSES, _LETTERS, _CANDIDATES, _INCIDENTS = 5, 5, 2, 2
_NAME, _RULE, _METRICS = 22, 20, 5
_FIRST = ("auc", "log_loss", "mae", "rmse", "examples")
"""The metrics by which candidates are compared, and on how much; the others where there is room."""
_PLAIN = 100_000
_UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def screen(
    head: str, now: Sample, before: Sample | None, incidents: Mapping[str, Alert] | str, rows: int
) -> RenderableType:
    """Everything; ``incidents`` are the open ones by id, or why they are not known."""
    more = max(0, rows - _ROWS)
    above, below = Table.grid(padding=(0, 1)), Table.grid(padding=(0, 1))
    above.add_row(_stages(now, before), _counted("Labels", ledger(now)))
    letters = _counted("Dead letters", refused(now, _LETTERS + more // 2))
    below.add_row(_processes(now, before, _PROCESSES + more // 2), letters)
    lines: list[RenderableType] = [_line(Text(head, style="bold")), above, below]
    return Group(*lines, _models(now, _CANDIDATES + more // 4), _incidents(incidents, _INCIDENTS + more // 4))


def milliseconds(stage: str, what: str, now: Sample, before: Sample | None) -> float | None:
    """The mean time of a batch between two samples; None when none was done."""
    old = before.timed.get(stage, {}) if before is not None else {}
    new = now.timed.get(stage, {})
    spent, batches = (new.get((what, part), 0.0) - old.get((what, part), 0.0) for part in ("sum", "count"))
    return 1000 * spent / batches if batches > 0 else None


def short(count: float) -> str:
    """A count in six characters at most: 99,999, then 100k, 12.3M, 1.2G."""
    if count < _PLAIN:
        return f"{count:,.0f}"
    unit = next(unit for unit in _UNITS if count >= unit[1])
    found = count / unit[1]
    return f"{found:.1f}{unit[0]}" if found < 100 else f"{found:,.0f}{unit[0]}"  # noqa: PLR2004 - two digits and one


def _stages(now: Sample, before: Sample | None) -> Table:
    rows = [
        (word, short(a_second), short(count), short(lag),
         *(_whole(milliseconds(stage, what, now, before)) for what in ("process", "commit")))
        for stage, word, a_second, count, lag in stages(now, before)
    ]  # fmt: skip
    columns = ("stage", "/s", "records", "lag", "batch ms", "commit ms")
    return table("Stages", columns, rows, right=range(1, len(columns)))


def _counted(title: str, rows: Sequence[tuple[str, int]]) -> Table:
    drawn = table(title, ("", ""), ((_cut(name, _RULE), short(count)) for name, count in rows), right=(1,))
    drawn.show_header = False
    return drawn


def _processes(now: Sample, before: Sample | None, most: int) -> Table:
    rows: list[Sequence[object]] = [(_cut(name, _NAME), "", "", "[red]away[/]") for name in now.missing]
    for name, used in sorted(now.processes.items()):
        old = before.processes.get(name) if before is not None else None
        share = None
        if old is not None and before is not None and now.at > before.at:
            share = 100 * max(0.0, used.cpu_seconds - old.cpu_seconds) / (now.at - before.at)
        rows.append((_cut(name, _NAME), _whole(share), f"{used.resident_mb:,.0f}", "answers"))
    shown = rows if len(rows) <= most else [*rows[: most - 1], (f"and {len(rows) - most + 1} more", "", "", "")]
    return table("Processes", ("process", "CPU %", "MB", ""), shown, right=(1, 2))


def _models(now: Sample, most: int) -> RenderableType:
    champion = _line(Text.from_markup(
        f"[bold]Champion[/] {now.candidate or 'none yet'} version {now.version or 0}, newest label "
        f"{seconds(now.staleness_s)} old, label to prediction {seconds(now.freshness_median_s)}"
    ))  # fmt: skip
    others = sorted(now.prequential, key=lambda name: (name != now.candidate, name))[:most]
    known = dict.fromkeys(name for each in others for name in now.prequential[each])
    names = [*(name for name in _FIRST if name in known), *(name for name in known if name not in _FIRST)][:_METRICS]
    measured = table(
        "", ("candidate", *names), ([_cut(each, _NAME), *(_measured(name, now, each) for name in names)] for each in others),
        right=range(1, len(names) + 1),
    )  # fmt: skip
    measured.title = None
    return Group(champion, measured)


def _measured(name: str, now: Sample, candidate: str) -> str:
    value = now.prequential[candidate].get(name)
    return short(value) if value is not None and name == "examples" else number(value)


def _incidents(incidents: Mapping[str, Alert] | str, most: int) -> Text:
    if isinstance(incidents, str):
        return _line(Text.from_markup(f"[bold]Incidents[/] [dim]{escape(incidents)}[/]"))
    if not incidents:
        return Text.from_markup("[bold]Incidents[/] none open")
    newest = list(incidents.values())[-most:]
    lines = "\n".join(f"  [yellow]{escape(incident_line(alert))}[/]" for alert in newest[: most - 1] or newest)
    return _line(Text.from_markup(f"[bold]Incidents[/] {len(incidents)} open\n{lines}"))


def _line(text: Text) -> Text:
    """Cut where the terminal ends."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _cut(name: str, most: int) -> str:
    return escape(name if len(name) <= most else f"{name[: most - 1]}…")


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"  # noqa: RUF001 - a dash for what is not known yet
