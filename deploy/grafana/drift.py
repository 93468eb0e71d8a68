"""What has moved: incidents, the signals behind them, and how near each is to its threshold."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import board, row
from deploy.grafana.panels import bars, graph, number, states


def dashboard() -> Dashboard:
    """The suspects of an incident, in their order, are in its record on the topic alerts."""
    return _signals(
        _incidents(board("drift", "Drift", "Incidents, suspects, and how near each signal is to its threshold"))
    )


def _incidents(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Incidents"))
        .with_panel(number(
            "Open", "Incidents that are open, by kind.", "none",
            ('sum by (kind) (rivermill_incidents_open{pipeline=~"$pipeline"})', "{{kind}}"),
            thresholds=[(None, "green"), (1, "red")], span=12, decimals=0,
        ))
        .with_panel(number(
            "Since the beginning", "Incidents opened and resolved, and blocks that were judged.", "none",
            (
                "sum by (what) (lane:rivermill_lane_records:max"
                '{pipeline=~"$pipeline", stage="detect", what=~"opened|resolved|blocks"})',
                "{{what}}",
            ),
            thresholds=[(None, "text")], span=12, decimals=0,
        ))
        .with_panel(graph(
            "Open incidents", "By kind and severity.", "none",
            (
                'sum by (kind, severity) (rivermill_incidents_open{pipeline=~"$pipeline"})',
                "{{kind}} {{severity}}",
            ),
            stacked=True,
        ))
        .with_panel(states(
            "Signals that are out", "Flagged, and neither recovered nor accepted as the new normal.",
            ('max by (signal) (rivermill_drift_out{pipeline=~"$pipeline"})', "{{signal}}"),
            {0: ("as usual", "green"), 1: ("out", "red")},
        ))
    )  # fmt: skip


def _signals(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Signals"))
        .with_panel(graph(
            "Sum by threshold", "A signal's running sum of deviations (CUSUM) by the threshold in force: beyond 1 it is flagged.",
            "percentunit",
            ('max by (signal) (rivermill_drift_sum_ratio{pipeline=~"$pipeline"})', "{{signal}}"),
            thresholds=[(None, "green"), (1, "red")],
        ))
        .with_panel(bars(
            "Suspects", "The ten signals nearest to their threshold, or furthest beyond it.", "percentunit",
            ('topk(10, max by (signal) (rivermill_drift_sum_ratio{pipeline=~"$pipeline"}))', "{{signal}}"),
            thresholds=[(None, "green"), (0.5, "yellow"), (1, "red")],
        ))
        .with_panel(graph(
            "Level", "Mean since the signal's sum left zero, in the field's own unit; a quiet signal shows its reference.", "none",
            ('max by (signal) (rivermill_drift_level{pipeline=~"$pipeline"})', "{{signal}}"),
        ))
        .with_panel(graph(
            "Reference", "The level that the signal is compared with. It stands still while the signal is out.", "none",
            ('max by (signal) (rivermill_drift_reference{pipeline=~"$pipeline"})', "{{signal}}"),
        ))
        .with_panel(graph(
            "Score and loss", "Mean score, and the champion's loss, as drift sees them.", "none",
            ('max by (signal) (rivermill_drift_level{pipeline=~"$pipeline", signal=~"score|loss:.+"})', "{{signal}}"),
        ))
        .with_panel(graph(
            "Summaries judged", "Parts of blocks that detection folds, a second.", "ops",
            (
                'sum by (pipeline) (rate(lane:rivermill_lane_records:max{pipeline=~"$pipeline", stage="detect", '
                'what="summaries"}[$__rate_interval]))',
                "{{pipeline}}",
            ),
        ))
    )  # fmt: skip
