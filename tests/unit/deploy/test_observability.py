"""Dashboards, rules, the runbook and the table of metrics say the same; what a real Prometheus says is tested beside it."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from deploy.grafana import generate
from tests.observability import (
    CONFIGURATION,
    DEPLOY,
    RULE_TESTS,
    SCRAPED,
    annotations,
    documented,
    filled,
    named_labels,
    pages,
    panel_queries,
    panels,
    rule_queries,
    rules,
    selectors,
    series_labels,
)

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
ASKED = [*panel_queries(), *annotations(), *rule_queries("record"), *rule_queries("alert"), *documented()]
PORTS = {"cleaning": 9101, "scoring": 9102, "learner": 9103, "drift": 9104, "registry": 8080}


def test_the_committed_dashboards_are_what_the_code_says() -> None:
    """No file of the dashboards is missing, stale or left over."""
    assert generate.stale(generate.generated()) == []


def test_check_fails_when_a_dashboard_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--check`` names a file that was changed by hand, and writes nothing; without it the file is as it should be."""
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    changed = tmp_path / "drift.json"
    changed.write_text("{}")
    assert generate.main(["--check"]) == 1
    assert changed.read_text() == "{}"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_every_panel_says_what_it_shows() -> None:
    """Each panel has a title that its dashboard has once, a description, a unit and thresholds, and is a panel of 24 columns."""
    for file, page in pages():
        titles = [panel["title"] for panel in page["panels"]]
        assert len(titles) == len(set(titles)), file
        assert page["refresh"]
        assert page["description"]
        assert page["uid"] == f"rivermill-{file}"
        assert {variable["name"] for variable in page["templating"]["list"]} == {"datasource", "pipeline"}
    for file, panel in panels():
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["description"], f"{file}: {panel['title']}"
        assert defaults["unit"], f"{file}: {panel['title']}"
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] in {"stat", "bargauge", "state-timeline"}:
            assert defaults["thresholds"]["steps"], f"{file}: {panel['title']}"


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked.file}-{asked.name}")
def test_every_expression_names_metrics_and_labels_that_exist(asked) -> None:
    """A selector names a metric of the tables, a recording rule or a process's own, and only labels that these have."""
    known = series_labels()
    expr = promql_parser.parse(filled(asked.expr, "flights"))
    found = selectors(expr)
    assert found
    labels: set[str] = set()
    for selector in found:
        assert selector.name in known, selector.name
        wrong = {matcher.name for matcher in selector.matchers.matchers} - known[selector.name]
        assert not wrong, f"{selector.name} has no label {wrong}"
        labels |= known[selector.name]
    made = set(re.findall(r'label_replace\([^"]*"(\w+)"', asked.expr)) | {"stream", "rule", "state"}
    assert named_labels(expr) <= labels | made | SCRAPED


def test_every_alert_says_what_to_do() -> None:
    """Each has a severity, a summary, a description, and a section of the runbook; the runbook has no other sections."""
    sections = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
    alerts = rules("alert")
    assert {rule["alert"] for rule in alerts} == sections
    for rule in alerts:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        base, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert base == '{{ or $externalLabels.docs "docs" }}/runbook.md'
        assert anchor in {section.lower() for section in sections}
        assert anchor == rule["alert"].lower()


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    """The rule tests of promtool, which runs them elsewhere, leave no alert out."""
    fires, silent = set(), set()
    for path in RULE_TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for expected in test.get("alert_rule_test", ()):
                (fires if expected["exp_alerts"] else silent).add(expected["alertname"])
    names = {rule["alert"] for rule in rules("alert")}
    assert fires == names
    assert silent == names


def test_prometheus_scrapes_every_service_at_its_port() -> None:
    """The configuration has a job a service with its usual port, and gives all but the registry the pipeline's name."""
    loaded = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    found = {}
    for job in loaded["scrape_configs"]:
        name = job["job_name"]
        for sd in job.get("dns_sd_configs", ()):
            assert sd["names"] == [name]
            found[name] = sd["port"]
        for static in job.get("static_configs", ()):
            found[name] = int(static["targets"][0].removeprefix(f"{name}:"))
        labelled = [it["target_label"] for it in job.get("relabel_configs", ())]
        assert labelled == ([] if name == "registry" else ["pipeline"])
    assert found == PORTS


def test_grafana_is_provisioned_with_the_dashboards_where_they_are_mounted() -> None:
    """The provider reads /etc/grafana/dashboards, and the data source is Prometheus with the configuration's interval."""
    provisioning = DEPLOY / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "rivermill.yml").read_text(encoding="utf-8"))
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))
    assert provider["providers"][0]["options"]["path"] == "/etc/grafana/dashboards"
    loaded = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    assert source["datasources"][0]["type"] == "prometheus"
    assert source["datasources"][0]["jsonData"]["timeInterval"] == loaded["global"]["scrape_interval"]
