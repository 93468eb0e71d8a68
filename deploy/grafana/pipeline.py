"""How records flow: throughput, lag, latency, what is refused, and the processes behind it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import board, row
from deploy.grafana.panels import bars, graph

_JOBS = 'job=~"cleaning|scoring|learner|drift|registry"'


def dashboard() -> Dashboard:
    """Stage by stage, from raw records to drift."""
    page = board("pipeline", "Pipeline", "How records flow: throughput, lag, latency, what is refused")
    return _processes(_labels(_latency(_throughput(page))))


def _throughput(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Throughput and lag"))
        .with_panel(graph(
            "Records read", "A second, by stage, re-keyed ones included.", "ops",
            ('sum by (stage) (rate(rivermill_records_in_total{pipeline=~"$pipeline"}[$__rate_interval]))', "{{stage}}"),
        ))
        .with_panel(graph(
            "Records written", "A second, by stage, one checkpoint a transaction included.", "ops",
            ('sum by (stage) (rate(rivermill_records_out_total{pipeline=~"$pipeline"}[$__rate_interval]))', "{{stage}}"),
        ))
        .with_panel(graph(
            "Lag by input", "Committed records that are not read yet.", "short",
            ('stage_input:rivermill_lag_records:sum{pipeline=~"$pipeline"}', "{{stage}} of {{input}}"),
        ))
        .with_panel(graph(
            "Behind", "Time for what lies ahead, at the pace of the last five minutes.", "s",
            ('stage:rivermill_behind:seconds{pipeline=~"$pipeline"}', "{{stage}}"),
            thresholds=[(None, "green"), (300, "red")],
        ))
        .with_panel(graph(
            "Dead letters", "A second, by the stage that refused them.", "ops",
            ('sum by (stage) (rate(rivermill_deadletters_total{pipeline=~"$pipeline"}[$__rate_interval]))', "{{stage}}"),
        ))
        .with_panel(bars(
            "Dead letters by rule", "Since the pipeline's beginning. docs/cleaning-rules.md says what each rule is.", "short",
            (
                'sort_desc(sum by (stage, stream, rule) (lane:rivermill_deadletters:max{pipeline=~"$pipeline"}))',
                "{{stage}} {{stream}} {{rule}}",
            ),
        ))
    )  # fmt: skip


def _latency(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Latency"))
        .with_panel(graph(
            "Raw record to output, 99 %", "From the raw record's arrival to the commit of the stage's output: the newest record "
            "of each batch.", "s",
            ('stage:rivermill_event_age_seconds:p99_5m{pipeline=~"$pipeline"}', "{{stage}}"),
            thresholds=[(None, "green"), (5, "red")],
        ))
        .with_panel(graph(
            "Raw record to output, median", "As beside it.", "s",
            ('stage:rivermill_event_age_seconds:p50_5m{pipeline=~"$pipeline"}', "{{stage}}"),
        ))
        .with_panel(graph(
            "Batch in the core, 99 %", "Time that the pure core takes for a batch; batches are cut to a quarter of a second.", "s",
            (
                "histogram_quantile(0.99, sum by (stage, le) "
                '(rate(rivermill_batch_process_seconds_bucket{pipeline=~"$pipeline"}[$__rate_interval])))',
                "{{stage}}",
            ),
            thresholds=[(None, "green"), (0.5, "red")],
        ))
        .with_panel(graph(
            "Commit, 99 %", "From the first send of a batch to its commit.", "s",
            (
                "histogram_quantile(0.99, sum by (stage, le) "
                '(rate(rivermill_batch_commit_seconds_bucket{pipeline=~"$pipeline"}[$__rate_interval])))',
                "{{stage}}",
            ),
        ))
        .with_panel(graph(
            "Records a batch", "Mean, by stage. It grows with the load, and with it what a transaction costs is shared.", "short",
            (
                'sum by (stage) (rate(rivermill_records_in_total{pipeline=~"$pipeline"}[$__rate_interval]))\n'
                '  / sum by (stage) (rate(rivermill_batch_process_seconds_count{pipeline=~"$pipeline"}[$__rate_interval]))',
                "{{stage}}",
            ),
        ))
        .with_panel(graph(
            "Event time reached", "The join's watermark: the time that events are of, not the time that it is.",
            "dateTimeAsIso",
            ('1000 * max by (lane) (rivermill_watermark_seconds{pipeline=~"$pipeline"})', "lane {{lane}}"),
            from_zero=False,
        ))
    )  # fmt: skip


def _labels(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Labels"))
        .with_panel(graph(
            "Labels by what became of them", "A second: matched (labelled), corrections, duplicates, superseded ones, orphans; and "
            "predictions that expired without a label.", "ops",
            ('sum by (state) (rate(lane:rivermill_labels:max{pipeline=~"$pipeline"}[$__rate_interval]))', "{{state}}"),
            stacked=True,
        ))
        .with_panel(graph(
            "Waiting", "Predictions without a label (pending), those that lie on disk (labelled ones included, while they take "
            "corrections), and labels without a prediction (waiting) with their bound.", "short",
            (
                "sum by (what) (lane:rivermill_lane_records:max"
                '{pipeline=~"$pipeline", stage="join", what=~"pending|waiting"})',
                "{{what}}",
            ),
            ('sum(rivermill_waiting_labels_bound{pipeline=~"$pipeline"})', "bound on waiting labels"),
            ('sum(rivermill_predictions_on_disk{pipeline=~"$pipeline"})', "predictions on disk"),
        ))
    )  # fmt: skip


def _processes(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Processes"))
        .with_panel(graph(
            "Lanes", "By stage and process; a stage's lanes add up to its partitions.", "none",
            ('sum by (stage, instance) (rivermill_lanes{pipeline=~"$pipeline"})', "{{stage}} at {{instance}}"),
            stacked=True,
        ))
        .with_panel(graph(
            "Lanes fenced and inputs paused", "Lanes that another process took over in 15 minutes, and inputs that a bound keeps "
            "from being read.", "none",
            ('sum by (stage) (increase(rivermill_lanes_fenced_total{pipeline=~"$pipeline"}[15m]))', "{{stage}} fenced"),
            ('sum by (stage) (rivermill_input_paused{pipeline=~"$pipeline"})', "{{stage}} paused"),
        ))
        .with_panel(graph(
            "Restore", "Mean time from a lane's start to its first fetch, since the processes started.", "s",
            (
                'sum by (stage) (rivermill_restore_seconds_sum{pipeline=~"$pipeline"})\n'
                '  / sum by (stage) (rivermill_restore_seconds_count{pipeline=~"$pipeline"})',
                "{{stage}}",
            ),
        ))
        .with_panel(graph(
            "CPU", "Cores in use, by process.", "none",
            (f"rate(process_cpu_seconds_total{{{_JOBS}}}[$__rate_interval])", "{{job}} at {{instance}}"),
        ))
        .with_panel(graph(
            "Memory", "Resident, by process.", "bytes",
            (f"process_resident_memory_bytes{{{_JOBS}}}", "{{job}} at {{instance}}"),
        ))
        .with_panel(graph(
            "Age of processes", "Time since the start; a saw blade is a crash loop.", "s",
            (f"time() - process_start_time_seconds{{{_JOBS}}}", "{{job}} at {{instance}}"),
        ))
    )  # fmt: skip
