"""What is scraped on Kubernetes has the labels that deploy/prometheus and deploy/grafana go by."""

from __future__ import annotations

import re

import promql_parser
import yaml

from tests.observability import CONFIGURATION, Asked, annotations, filled, panel_queries, rule_queries, selectors
from tests.unit.kubernetes.rendered import of_kind, pod_labels, selects, workloads

META = "__meta_kubernetes_pod_label_"
PIPELINE = "orders"


def scraped() -> dict[str, dict[str, str]]:
    """The labels that the operator's Prometheus gives the series of each workload's pods, by workload."""
    (monitor,) = of_kind("production", "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    found = {}
    for name, workload in workloads("production").items():
        labels = pod_labels(workload)
        if not selects(monitor["spec"]["selector"], labels):
            continue
        meta = {META + re.sub(r"\W", "_", key): value for key, value in labels.items()}
        found[name] = {"job": labels[monitor["spec"]["jobLabel"]]}
        for rule in endpoint["relabelings"]:
            source = ";".join(meta.get(label, "") for label in rule["sourceLabels"])
            if re.fullmatch(rule["regex"], source):
                found[name][rule["targetLabel"]] = rule["replacement"]
    return found


def named(label: str, asked: list[Asked]) -> set[str]:
    """The values of a label that expressions look for, each word of a pattern one."""
    return {
        value
        for each in asked
        for selector in selectors(promql_parser.parse(filled(each.expr, PIPELINE)))
        for matcher in selector.matchers.matchers
        if matcher.name == label
        for value in matcher.value.split("|")
    }


def test_every_job_that_rules_and_dashboards_name_is_scraped():
    """The registry's too; and no process is scraped under a name that nothing looks at."""
    jobs = {labels["job"] for labels in scraped().values()}
    for asked in (rule_queries("alert"), panel_queries()):
        assert named("job", asked) == jobs


def test_series_have_the_labels_of_the_other_prometheus():
    """Jobs, and which of them have a pipeline, are as in deploy/prometheus; its name is that of the pipeline file."""
    loaded = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["scrape_configs"]
    piped = {
        job["job_name"]: "pipeline" in {rule["target_label"] for rule in job.get("relabel_configs", ())}
        for job in loaded
    }
    assert {labels["job"]: "pipeline" in labels for labels in scraped().values()} == piped
    assert {labels.get("pipeline", PIPELINE) for labels in scraped().values()} == {PIPELINE}
    assert named("pipeline", [*panel_queries(), *annotations()]) == {PIPELINE}
