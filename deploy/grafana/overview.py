"""Is it well, and is the model right?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import board, row
from deploy.grafana.panels import PLAIN, graph, number


def dashboard() -> Dashboard:
    """The page to look at first; every number on it has its dashboard."""
    return _right(_well(board("overview", "Overview", "Is it well, and is the model right?")))


def _well(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Is it well?"))
        .with_panel(number(
            "Processes", "Processes that answer Prometheus, by service.", "none",
            ('sum by (job) (up{job=~"cleaning|scoring|learner|drift|registry"})', "{{job}}"),
            thresholds=[(None, "red"), (1, "green")], span=8, decimals=0,
        ))
        .with_panel(number(
            "Alerts", "Rivermill's alerts that fire now; the runbook has a section for each.", "none",
            ('sum(ALERTS{alertname=~"Rivermill.*", alertstate="firing"}) or vector(0)', "firing"),
            thresholds=[(None, "green"), (1, "red")], decimals=0,
        ))
        .with_panel(number(
            "Behind", "Time that the slowest stage needs for what lies ahead, at its pace of the last five minutes.", "s",
            ('max by (pipeline) (stage:rivermill_behind:seconds{pipeline=~"$pipeline"})', "{{pipeline}}"),
            thresholds=[(None, "green"), (60, "yellow"), (300, "red")],
        ))
        .with_panel(number(
            "Event to prediction", "From a raw event's arrival to the commit of its prediction, over five minutes.", "s",
            ('stage:rivermill_event_age_seconds:p50_5m{pipeline=~"$pipeline", stage="score"}', "median"),
            ('stage:rivermill_event_age_seconds:p99_5m{pipeline=~"$pipeline", stage="score"}', "99 %"),
            thresholds=[(None, "green"), (1, "yellow"), (5, "red")], decimals=2,
        ))
        .with_panel(number(
            "Refused", "Dead letters by what cleaning reads, over five minutes.", "percentunit",
            ('stage:rivermill_deadletters:ratio5m{pipeline=~"$pipeline", stage="clean"}', "{{pipeline}}"),
            thresholds=[(None, "green"), (0.002, "yellow"), (0.01, "red")], decimals=2,
        ))
        .with_panel(graph(
            "Predictions and labels", "Predictions made and labels matched with one, a second.", "ops",
            (
                'sum by (pipeline) (rate(lane:rivermill_lane_records:max{pipeline=~"$pipeline", stage="score", '
                'what="predictions"}[$__rate_interval]))',
                "predictions",
            ),
            (
                'sum by (pipeline) (rate(lane:rivermill_lane_records:max{pipeline=~"$pipeline", stage="join", '
                'what="labelled"}[$__rate_interval]))',
                "labelled",
            ),
        ))
        .with_panel(graph(
            "Lag by stage", "Committed records that a stage has not read yet.", "short",
            ('sum by (stage) (stage_input:rivermill_lag_records:sum{pipeline=~"$pipeline"})', "{{stage}}"),
        ))
    )  # fmt: skip


def _right(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Is the model right?"))
        .with_panel(number(
            "Champion", "The candidate that is served, and its version.", "none",
            ('max by (candidate) (rivermill_served_version{pipeline=~"$pipeline"})', "{{candidate}}"),
            thresholds=PLAIN, decimals=0,
        ))
        .with_panel(number(
            "Recent loss by usual loss", "The champion's loss over the last thousand examples by that since its beginning: "
            "beyond 1 it is less right than it used to be.", "none",
            (
                'candidate:rivermill_loss_recent:ratio{pipeline=~"$pipeline"}\n'
                '  and on (pipeline, candidate) candidate:rivermill_served:max{pipeline=~"$pipeline"}',
                "{{candidate}}",
            ),
            thresholds=[(None, "green"), (1.1, "yellow"), (1.25, "red")], decimals=2,
        ))
        .with_panel(number(
            "Staleness", "Since the newest label in the champion came in, of the process that is furthest behind.", "s",
            ('max by (pipeline) (rivermill_serving_staleness_seconds{pipeline=~"$pipeline"}) >= 0', "{{pipeline}}"),
            thresholds=[(None, "green"), (60, "yellow"), (600, "red")],
        ))
        .with_panel(number(
            "Label to model", "Median from a raw label's arrival to the first predictions made with it.", "s",
            ('pipeline:rivermill_freshness_seconds:p50_5m{pipeline=~"$pipeline"}', "{{pipeline}}"),
            thresholds=[(None, "green"), (1, "yellow"), (10, "red")], decimals=2,
        ))
        .with_panel(number(
            "Incidents", "Incidents that are open, by severity.", "none",
            ('sum by (severity) (rivermill_incidents_open{pipeline=~"$pipeline"})', "{{severity}}"),
            thresholds=[(None, "green"), (1, "red")], span=8, decimals=0,
        ))
        .with_panel(graph(
            "How right the candidates are", "On scores given before the label was known, over the last examples: log loss and "
            "RMSE are better when lower, AUC when higher.", "none",
            (
                'max by (candidate, metric) (rivermill_prequential{pipeline=~"$pipeline", metric=~".+_recent"})',
                "{{candidate}} {{metric}}",
            ),
            span=24,
        ))
    )  # fmt: skip
