"""Live views of a pipeline, the demo's and the parts of any: tables that change in place, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from schemas.alerts import Alert
from services.cli.scrape import Sample
from services.cli.terminal import table

_ROWS = (
    ("clean", "cleaned", ("events_in", "labels_in", "rekeyed_in")),
    ("score", "predicted", ("in",)),
    ("join", "joined", ("predictions", "labels")),
    ("train", "learned", ("examples", "corrections")),
    ("summarise", "watched", ("predictions", "examples")),
    ("detect", "judged", ("summaries",)),
)
_LEDGER = ("pending", "labelled", "corrected", "duplicate", "superseded", "expired", "orphan", "waiting")
_SHOWN = 9


def rate(stage: str, names: Sequence[str], now: Sample, before: Sample | None) -> float:
    """Records a second between two samples."""
    if before is None or now.at <= before.at:
        return 0.0
    return max(0.0, (now.total(stage, *names) - before.total(stage, *names)) / (now.at - before.at))


def view(head: str, now: Sample, before: Sample | None, incidents: Mapping[str, Alert]) -> RenderableType:
    """Everything at one moment."""
    rows = [(word, f"{a_second:,.0f}", count, lag) for _, word, a_second, count, lag in stages(now, before)]
    table_of_stages = table("Stages", ("stage", "records/s", "records", "lag"), rows, right=(1, 2, 3))
    labels = table("Labels", ("", ""), ledger(now), right=(1,))
    dead = table("Refused", ("", ""), refused(now, _SHOWN), right=(1,))
    columns = Columns([table_of_stages, labels, _counts("Repaired", "repaired.", now), dead], padding=(0, 3))
    return Group(Text.from_markup(f"[bold]{head}[/]"), columns, _model(now), _incidents(incidents))


def stages(now: Sample, before: Sample | None) -> list[tuple[str, str, float, int, int]]:
    """Each stage: its name, what it does, records a second, records, lag."""
    return [
        (stage, word, rate(stage, names, now, before), now.total(stage, *names), now.lag[stage])
        for stage, word, names in _ROWS
    ]


def ledger(now: Sample) -> list[tuple[str, int]]:
    """How many labels there are, by what became of them."""
    return [(name, now.total("join", name)) for name in _LEDGER]


def line(head: str, now: Sample, before: Sample | None, incidents: Mapping[str, Alert]) -> str:
    """The same in one line, for a log."""
    metrics = now.prequential.get(now.candidate or "", {})
    opened = sum(alert.state != "resolved" for alert in incidents.values())
    parts = [
        head,
        f"{rate('score', ('in',), now, before):,.0f} predictions/s",
        f"{now.total('score', 'predictions'):,} predicted",
        f"{now.total('join', 'labelled'):,} labelled",
        f"{now.total('join', 'pending'):,} pending",
        f"lag {sum(now.lag.values()):,}",
        f"{now.candidate or 'no model'} v{now.version or 0}",
        f"fresh {seconds(now.staleness_s)} (median {seconds(now.freshness_median_s)})",
        f"AUC {number(metrics.get('auc'))}",
        f"log loss {number(metrics.get('log_loss'))}",
        f"{opened} incidents open",
    ]
    return "  ".join(parts) + (f"  away: {', '.join(now.missing)}" if now.missing else "")


def incident_line(alert: Alert) -> str:
    """One step of an incident."""
    how = f" ({alert.resolution})" if alert.resolution else ""
    return f"{alert.detected_at:%Y-%m-%d %H:%M} {alert.kind} {alert.state}{how}: {alert.summary}"


def _counts(title: str, prefix: str, now: Sample) -> Table:
    totals = now.totals["clean"]
    found = sorted(((count, name.removeprefix(prefix)) for name, count in totals.items() if name.startswith(prefix)))
    return table(title, ("", ""), ((name, count) for count, name in found[::-1][:_SHOWN]), right=(1,))


def refused(now: Sample, most: int) -> list[tuple[str, int]]:
    """How much was refused, by rule: the ``most`` frequent ones."""
    found: dict[str, int] = {"duplicate id": now.total("clean", "duplicates")}
    for stage, totals in now.totals.items():
        for name, count in totals.items():
            if name.startswith("deadletter."):
                rule = name.rpartition(".")[2] if stage == "clean" else f"{stage}: {name.rpartition('.')[2]}"
                found[rule] = found.get(rule, 0) + count
    return sorted(found.items(), key=lambda item: -item[1])[:most]


def _model(now: Sample) -> Text:
    metrics = now.prequential.get(now.candidate or "", {})
    away = f"   [red]away: {', '.join(now.missing)}[/]" if now.missing else ""
    return Text.from_markup(
        f"\n[bold]Champion[/] {now.candidate or 'none yet'} version {now.version or 0}   "
        f"[bold]fresh[/] {seconds(now.staleness_s)} since its newest label came in, "
        f"{seconds(now.freshness_median_s)} from a label to predictions (median)\n         "
        f"[bold]AUC[/] {number(metrics.get('auc'))}   [bold]log loss[/] {number(metrics.get('log_loss'))}   "
        f"[dim]on {metrics.get('examples', 0):,.0f} labels, scored before they were known[/]{away}"
    )


def _incidents(incidents: Mapping[str, Alert]) -> Text:
    if not incidents:
        return Text.from_markup("[bold]Incidents[/] none\n")
    lines = [
        f"  [{'green' if alert.state == 'resolved' else 'yellow'}]{escape(incident_line(alert))}[/]"
        for alert in sorted(incidents.values(), key=lambda alert: alert.state != "resolved")[-5:]
    ]
    return Text.from_markup("[bold]Incidents[/]\n" + "\n".join(lines) + "\n")


def seconds(value: float | None) -> str:
    """A time, in what reads best; a dash for one that is not known yet."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash for what is not known yet
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:,.1f} s"


def number(value: float | None) -> str:
    """A metric; a dash for one that is not known yet."""
    return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 - as above
