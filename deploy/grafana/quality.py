"""What the data is like, field by field: what is missing, repaired, refused, unknown, and what moves."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import board, row
from deploy.grafana.panels import bars, graph, states


def dashboard() -> Dashboard:
    """Cleaning's view of the producers."""
    page = board("quality", "Data quality", "What is missing, repaired, refused and unknown, field by field")
    return _records(_fields(page))


def _fields(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Fields"))
        .with_panel(bars(
            "Missing since the beginning", "Share of events that came without the field, or with a value that counts as missing.",
            "percentunit",
            ('sort_desc(avg by (field) (rivermill_field_missing_ratio{pipeline=~"$pipeline"}))', "{{field}}"),
            thresholds=[(None, "green"), (0.2, "yellow"), (0.5, "red")],
        ))
        .with_panel(graph(
            "Missing lately", "Share of missing values in the blocks that drift looks at; one that is not flagged shows its "
            "reference.", "percentunit",
            ('max by (signal) (rivermill_drift_level{pipeline=~"$pipeline", signal=~"missing:.+"})', "{{signal}}"),
        ))
        .with_panel(graph(
            "Repairs by field and rule", "Changes a second. docs/cleaning-rules.md says what each rule does.", "ops",
            (
                'sum by (field, rule) (rate(rivermill_repairs_total{pipeline=~"$pipeline"}[$__rate_interval]))',
                "{{field}} {{rule}}",
            ),
            stacked=True,
        ))
        .with_panel(bars(
            "Repairs by rule since the beginning", "From the account: exact, and kept over restarts.", "short",
            (
                "sort_desc(sum by (what) "
                '(lane:rivermill_lane_records:max{pipeline=~"$pipeline", stage="clean", what=~"repaired[.].+"}))',
                "{{what}}",
            ),
        ))
        .with_panel(states(
            "Fields that never vary", "A field whose values, more than 1,000 on every lane, were all the same: a model learns nothing "
            "from it.",
            ('min by (field) (rivermill_field_invariable{pipeline=~"$pipeline"})', "{{field}}"),
            {0: ("varies", "green"), 1: ("never varies", "orange")},
        ))
        .with_panel(graph(
            "Mean of numeric fields by their reference", "The level that drift sees by the one it compares with: 1 is as usual. "
            "Fields around zero are left out.", "none",
            (
                'max by (signal) (rivermill_drift_level{pipeline=~"$pipeline", signal=~"mean:.+"})\n'
                '  / max by (signal) (abs(rivermill_drift_reference{pipeline=~"$pipeline", signal=~"mean:.+"}) > 1)',
                "{{signal}}",
            ),
        ))
    )  # fmt: skip


def _records(page: Dashboard) -> Dashboard:
    return (
        page.with_row(row("Records"))
        .with_panel(graph(
            "Refused by rule", "Events and labels that cleaning refused, a second.", "ops",
            (
                "sum by (stream, rule) "
                '(rate(lane:rivermill_deadletters:max{pipeline=~"$pipeline", stage="clean"}[$__rate_interval]))',
                "{{stream}} {{rule}}",
            ),
            stacked=True,
        ))
        .with_panel(bars(
            "Unknown fields", "Events that came with a field that the pipeline file does not name, since the beginning.", "short",
            ('sort_desc(sum by (field) (rivermill_unknown_field_records{pipeline=~"$pipeline"}))', "{{field}}"),
        ))
        .with_panel(graph(
            "Duplicates and re-keyed records", "Events whose id had passed before, and records that lay on another partition than "
            "their id's, a second.", "ops",
            (
                'sum by (what) (rate(lane:rivermill_lane_records:max{pipeline=~"$pipeline", stage="clean", '
                'what=~"duplicates|rekeyed_events|rekeyed_labels"}[$__rate_interval]))',
                "{{what}}",
            ),
        ))
        .with_panel(graph(
            "What deduplication remembers", "Time of arrival that the remembered ids of the shortest lane reach back, since its "
            "last restore.", "s",
            ('min by (pipeline) (rivermill_dedupe_span_seconds{pipeline=~"$pipeline"})', "{{pipeline}}"),
        ))
    )  # fmt: skip
