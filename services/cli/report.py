"""The backtest's page: one HTML file that needs nothing else, with plots as inline SVG; light or dark as the reader's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

from jinja2 import Environment

from services.cli import report_plots
from services.cli.backtest_measures import Measured
from services.cli.backtest_run import Incident, Result

NAMES = {"auc": "AUC", "log_loss": "log loss", "rmse": "RMSE", "mae": "mean absolute error"}
_FORMATS = {"hour": "%Y-%m-%d %H:00", "day": "%a %Y-%m-%d", "week": "from %Y-%m-%d", "month": "%B %Y"}
_TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backtest of {{ result.pipeline }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --line: #e1e5ec; --page: #ffffff; --card: #f7f8fa;
  --mark: #b54708; --c0: #1d5fd1; --c1: #c2410c; --c2: #15803d; --c3: #9333ea; --c4: #b45309; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #2f3747; --page: #12161f;
  --card: #1a202c; --mark: #f79009; --c0: #6ea8ff; --c1: #ff9a62; --c2: #5fd38a; --c3: #c792ff; --c4: #f0b35a;
  --c5: #5fd0e0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 48rem; }
.dim { color: var(--dim); }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem; min-width: 13rem; }
.card b { display: block; font-size: 1.05rem; }
.card .swatch { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .45em; }
.card dl { display: grid; grid-template-columns: auto auto; gap: 0 1.25rem; margin: .4rem 0 0; }
.card dt { color: var(--dim); }
.card dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.what { white-space: normal; min-width: 20rem; }
tr.all td { font-weight: 600; border-bottom: 0; }
svg { display: block; width: 100%; height: auto; min-width: 40rem; }
svg text { fill: var(--dim); font-size: 11px; font-family: inherit; }
svg .title { fill: var(--ink); font-size: 13px; font-weight: 600; }
svg .grid { stroke: var(--line); }
svg .series { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
svg .incident { fill: var(--mark); fill-opacity: .13; }
svg .edge { stroke: var(--mark); stroke-opacity: .6; }
svg .number { fill: var(--mark); font-weight: 600; }
</style>
</head>
<body>
<h1>Backtest of {{ result.pipeline }}</h1>
<p class="dim">{% if span %}Predictions from {{ span[0] }} to {{ span[1] }}, {{ zone }}. {% endif -%}
{{ "{:,}".format(result.records) }} records, {{ result.partitions }} partitions, labels
{{ lag }}.
{%- if result.stopped %} <b>Stopped before the end.</b>{% endif %}</p>
<div class="cards">
{% for each in result.total %}<div class="card"><b><span class="swatch" style="background: var(--c{{ loop.index0 % 6 }})">
</span>{{ each.candidate }}{% if loop.first %} <span class="dim">champion</span>{% endif %}</b><dl>
{% for name, label in names %}<dt>{{ label }}</dt><dd>{{ number(each, name) }}</dd>{% endfor %}
<dt>labelled predictions</dt><dd>{{ "{:,}".format(each.examples) }}</dd></dl></div>
{% endfor %}
<div class="card"><b>Account {{ "balances" if result.balanced else "does not balance" }}</b><dl>
{% for stage, what in accounted %}<dt>{{ what }}</dt><dd>{{ "{:,}".format(stage) }}</dd>{% endfor %}</dl></div>
</div>
<h2>Over time</h2>
<p class="dim">Every prediction was made before its own label was known, with what the labels that had arrived by then
had taught. {% if incidents %}Shaded: drift incidents, numbered as below.{% endif %}</p>
<div class="wide">{{ plots | safe }}</div>
{% if incidents %}<h2>Drift incidents</h2>
<div class="wide"><table><tr><th></th><th class="text">opened</th><th class="text">resolved</th>
<th class="text">severity</th><th class="text">first suspects</th></tr>
{% for each in incidents %}<tr><td>{{ loop.index }}</td><td class="text">{{ each.opened }}</td>
<td class="text">{{ each.ended }}</td><td class="text">{{ each.severity }}</td>
<td class="text what">{{ each.what }}</td></tr>
{% endfor %}</table></div>{% endif %}
<h2>By {{ result.period }}</h2>
<div class="wide"><table><tr><th>{{ result.period }}</th><th>examples</th>{% for head in heads %}<th>{{ head }}</th>
{% endfor %}</tr>
{% for row in rows %}<tr{% if loop.last %} class="all"{% endif %}>{% for cell in row %}<td>{{ cell }}</td>
{%- endfor %}</tr>
{% endfor %}</table></div>
{% for title, counts in counted %}{% if counts %}<h2>{{ title }}</h2>
<div class="wide"><table>{% for rule, count in counts.items() %}<tr><td>{{ rule }}</td>
<td>{{ "{:,}".format(count) }}</td></tr>
{% endfor %}</table></div>{% endif %}{% endfor %}
</body>
</html>
"""


def page(result: Result, zone: tzinfo) -> str:
    """The whole page; times are those of ``zone``."""
    names = [(name, label) for name, label in NAMES.items() if any(name in each.measures for each in result.total)]
    template = Environment(autoescape=True).from_string(_TEMPLATE)
    return template.render(
        result=result,
        zone=zone,
        lag=lag(result),
        names=names,
        number=_number,
        span=[f"{when.astimezone(zone):%-d %B %Y}" for when in result.span or ()],
        accounted=_accounted(result),
        plots=report_plots.plots(result, names, zone),
        incidents=[_told(each, zone) for each in result.incidents],
        heads=[f"{candidate} {label}" for candidate in result.candidates for _, label in names],
        rows=list(_rows(result, [name for name, _ in names], zone)),
        counted=(("Repairs, by rule", result.repairs), ("Dead letters, by stage and rule", result.dead_letters)),
    )


def lag(result: Result) -> str:
    """When labels came."""
    return f"{result.label_lag_s:g} s later than their time" if result.label_lag_s else "at their own time"


def _number(each: Measured, name: str) -> str:
    return f"{each.measures[name]:.4f}" if name in each.measures else "-"


def _minute(when: datetime, zone: tzinfo) -> str:
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M}"


def _accounted(result: Result) -> list[tuple[int, str]]:
    clean, join = result.totals["clean"], result.totals["join"]
    return [
        (clean.get("events", 0), "events cleaned"),
        (clean.get("duplicates", 0), "duplicates"),
        (sum(result.dead_letters.values()), "dead letters"),
        (join.get("labelled", 0), "labelled"),
        (join.get("expired", 0), "expired"),
        (join.get("pending", 0), "pending"),
    ]


def _told(incident: Incident, zone: tzinfo) -> dict[str, str]:
    ended = f"{_minute(incident.ended, zone)} ({incident.resolution})" if incident.ended else "open"
    what = "; ".join(incident.suspects[:3]) or incident.signal
    return {
        "opened": _minute(incident.opened, zone),
        "ended": ended,
        "severity": incident.severity,
        "what": what,
    }


def _rows(result: Result, names: Sequence[str], zone: tzinfo) -> Iterable[list[str]]:
    by_start: dict[datetime, dict[str, Measured]] = {}
    for each in result.over_time:
        by_start.setdefault(each.start, {})[each.candidate] = each
    for start, found in by_start.items():
        yield _row(start.astimezone(zone).strftime(_FORMATS[result.period]), found, result.candidates, names)
    yield _row("all", {each.candidate: each for each in result.total}, result.candidates, names)


def _row(when: str, found: dict[str, Measured], candidates: Sequence[str], names: Sequence[str]) -> list[str]:
    examples = max((each.examples for each in found.values()), default=0)
    cells = [_number(found[name], measure) if name in found else "-" for name in candidates for measure in names]
    return [when, f"{examples:,}", *cells]
