"""The models: how right, how fresh, which version serves, and how it came to."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import board, row
from deploy.grafana.panels import Query, graph, states


def dashboard() -> Dashboard:
    """Promotions, pins and rollbacks are marked on every graph."""
    page = board("model", "Model", "How right the candidates are, how fresh, which version serves")
    return _registry(_serving(_right(page)))


def _prequential(metric: str) -> Query:
    legend = "{{candidate}} {{metric}}"
    return f'max by (candidate, metric) (rivermill_prequential{{pipeline=~"$pipeline", metric=~"{metric}"}})', legend


def _right(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("How right: on scores given before the label was known"))
        .with_panel(graph(
            "Loss", "Log loss (binary) or RMSE (regression), since the beginning and recently; lower is better.", "none",
            _prequential("(log_loss|rmse)(_recent)?"),
        ))
        .with_panel(graph(
            "Ranking and accuracy", "AUC since the beginning and over the last 5,000 examples, and accuracy; higher is better. A "
            "regression has its mean absolute error here.", "none",
            _prequential("auc|auc_recent|accuracy|mae"),
        ))
        .with_panel(graph(
            "Recent loss by usual loss", "Beyond 1 a candidate is less right than it used to be.", "none",
            ('candidate:rivermill_loss_recent:ratio{pipeline=~"$pipeline"}', "{{candidate}}"),
            thresholds=[(None, "green"), (1.25, "red")],
        ))
        .with_panel(graph(
            "Examples learned", "A second, corrections included.", "ops",
            (
                'sum by (what) (rate(lane:rivermill_lane_records:max{pipeline=~"$pipeline", stage="train", '
                'what=~"examples|corrections"}[$__rate_interval]))',
                "{{what}}",
            ),
        ))
    )  # fmt: skip


def _serving(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("What serves"))
        .with_panel(graph(
            "Version served", "Of the champion, by process: they differ for a moment after each exchange.", "none",
            ('rivermill_served_version{pipeline=~"$pipeline"}', "{{candidate}} at {{instance}}"),
        ))
        .with_panel(states(
            "Champion", "Which candidate serves: following its newest state, or pinned to one version.",
            (
                "max by (candidate) ((rivermill_served_model_info"
                '{pipeline=~"$pipeline", pinned="true"} * 2) or rivermill_served_model_info{pipeline=~"$pipeline"})',
                "{{candidate}}",
            ),
            {1: ("follows", "green"), 2: ("pinned", "purple")},
        ))
        .with_panel(graph(
            "Label to model", "From a raw label's arrival to the commit of the first predictions made with it.", "s",
            *((
                f"histogram_quantile({share}, sum by (le) "
                '(rate(rivermill_freshness_seconds_bucket{pipeline=~"$pipeline"}[$__rate_interval])))',
                legend,
            ) for share, legend in ((0.5, "median"), (0.9, "90 %"), (0.99, "99 %"))),
        ))
        .with_panel(graph(
            "Staleness", "Since the newest label in the champion came in, by process; a pinned one grows old. Nothing while it has learned none.", "s",
            ('rivermill_serving_staleness_seconds{pipeline=~"$pipeline", job="scoring"} >= 0', "{{instance}}"),
            thresholds=[(None, "green"), (600, "red")],
        ))
        .with_panel(graph(
            "Label lag", "Median from a raw label's arrival to that of the first event that can be predicted with it: what to give a "
            "backtest as --label-lag.", "s",
            (
                "histogram_quantile(0.5, sum by (le) "
                '(rate(rivermill_label_lag_seconds_bucket{pipeline=~"$pipeline"}[$__rate_interval])))',
                "median",
            ),
        ))
        .with_panel(graph(
            "Exchanges of the serving state", "A second, by what they came with: live parameters or a version.", "ops",
            ('sum by (how) (rate(rivermill_served_swaps_total{pipeline=~"$pipeline"}[$__rate_interval]))', "{{how}}"),
        ))
        .with_panel(graph(
            "Refused states and failed scores", "Snapshots and parameters that scoring refused in 15 minutes, by reason, and scores "
            "of challengers that failed.", "none",
            ('sum by (reason) (increase(rivermill_served_refused_total{pipeline=~"$pipeline"}[15m]))', "{{reason}}"),
            ('max by (pipeline) (rivermill_challenger_failures{pipeline=~"$pipeline"})', "challengers' failures"),
        ))
        .with_panel(graph(
            "Offset served", "examples_offset of the champion, by process: how far into the log of examples it has learned.", "short",
            ('rivermill_served_examples_offset{pipeline=~"$pipeline", job="scoring"}', "{{instance}}"),
        ))
    )  # fmt: skip


def _registry(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Versions and the registry"))
        .with_panel(graph(
            "Versions published", "In an hour, by candidate.", "none",
            (
                'sum by (candidate) (increase(rivermill_versions_published_total{pipeline=~"$pipeline"}[1h]))',
                "{{candidate}}",
            ),
        ))
        .with_panel(graph(
            "Live parameters", "Size of the record that carries them; above 512 KiB it is not sent, and scoring follows versions.",
            "bytes",
            ('max by (pipeline) (rivermill_live_parameters_bytes{pipeline=~"$pipeline"})', "{{pipeline}}"),
            thresholds=[(None, "green"), (524288, "red")],
        ))
        .with_panel(states(
            "Candidates", "Live: its state travels with the live parameters. By version: it is too large for that. Withdrawn: it "
            "learns no more.",
            (
                'max by (candidate) ((rivermill_candidate_withdrawn{pipeline=~"$pipeline"} == 1) * 2 '
                'or rivermill_live_withheld{pipeline=~"$pipeline"})',
                "{{candidate}}",
            ),
            {0: ("live", "green"), 1: ("by version", "blue"), 2: ("withdrawn", "red")},
        ))
        .with_panel(graph(
            "Decisions that wait", "Age of the oldest record that the registry has not brought to Kafka.", "s",
            ("max by (instance) (rivermill_registry_outbox_oldest_seconds)", "{{instance}}"),
            thresholds=[(None, "green"), (30, "red")],
        ))
        .with_panel(graph(
            "Requests to the registry", "A second, by status.", "ops",
            ("sum by (status) (rate(rivermill_registry_requests_total[$__rate_interval]))", "{{status}}"),
            stacked=True,
        ))
        .with_panel(graph(
            "Answers of the registry, 99 %", "Time to the end of an answer, by route.", "s",
            (
                "histogram_quantile(0.99, sum by (route, le) "
                "(rate(rivermill_registry_request_seconds_bucket[$__rate_interval])))",
                "{{route}}",
            ),
        ))
    )  # fmt: skip
