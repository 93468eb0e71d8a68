"""The committed dashboards and rules, and the metrics that their expressions may name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import yaml
from prometheus_client.metrics import MetricWrapperBase

from services.registry import metrics as registry_metrics
from services.runtime import metrics as runtime_metrics

DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yml"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
RULE_TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
SCRAPED = frozenset({"pipeline", "job", "instance"})
"""Labels that the scrape configuration adds to every series."""
_OTHERS = {
    "up": frozenset[str](),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
    "process_cpu_seconds_total": frozenset[str](),
    "process_resident_memory_bytes": frozenset[str](),
    "process_start_time_seconds": frozenset[str](),
}
"""Metrics of Prometheus itself and of every Python process."""
_PARTS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


class Asked(NamedTuple):
    """An expression, where it stands (dashboard or rule file, panel or rule), and the legend of its series."""

    file: str
    name: str
    expr: str
    legend: str = ""


def pages() -> Iterator[tuple[str, dict[str, Any]]]:
    """The dashboards, by file."""
    for path in DASHBOARDS:
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel of every dashboard but the headings."""
    return ((file, panel) for file, page in pages() for panel in page["panels"] if panel["type"] != "row")


def panel_queries() -> list[Asked]:
    """The query of every panel, those with several more than once."""
    return [
        Asked(file, panel["title"], target["expr"], target["legendFormat"])
        for file, panel in panels()
        for target in panel["targets"]
    ]


def annotations() -> list[Asked]:
    """The annotation queries."""
    return [
        Asked(file, it["name"], it["expr"], it["textFormat"])
        for file, page in pages()
        for it in page["annotations"]["list"]
    ]


def rules(kind: str) -> list[dict[str, Any]]:
    """Rules of a kind: ``record`` or ``alert``."""
    loaded = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES)
    return [rule for file in loaded for group in file["groups"] for rule in group["rules"] if kind in rule]


def rule_queries(kind: str) -> list[Asked]:
    """The expressions of those rules."""
    return [Asked(kind, rule[kind], rule["expr"]) for rule in rules(kind)]


def documented() -> list[Asked]:
    """The expressions of the page on metrics."""
    page = (DEPLOY.parent / "docs" / "metrics.md").read_text(encoding="utf-8").partition("## What to watch")[2]
    found = re.findall(r"^\| ([^|`]+) \| `(.+)` \|$", page, re.MULTILINE)
    return [Asked("metrics.md", question, expr.replace("\\|", "|")) for question, expr in found]


def filled(expr: str, pipeline: str) -> str:
    """An expression of a dashboard as Grafana sends it, for one pipeline and a scrape every second."""
    return expr.replace("$pipeline", pipeline).replace("$__rate_interval", "10s")


@cache
def series_labels() -> dict[str, frozenset[str]]:
    """Every series that there can be, with the labels that it can have."""
    found = {name: labels | SCRAPED for name, labels in _OTHERS.items()}
    for module in (runtime_metrics, registry_metrics):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                labels = frozenset(metric._labelnames) | SCRAPED
                for part in _PARTS[metric._type]:
                    found[metric._name + part] = labels | ({"le"} if part == "_bucket" else set())
    for rule in rules("record"):
        found[rule["record"]] = named_labels(promql_parser.parse(rule["expr"]))
    return found


def selectors(expr: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    """Every selector in an expression."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(expr, visit)
    return found


def named_labels(expr: promql_parser.Expr) -> frozenset[str]:
    """Labels that an expression groups or matches by."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            found.update(node.modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            found.update(node.modifier.matching.labels)
        return True

    promql_parser.walk(expr, visit)
    return frozenset(found)
