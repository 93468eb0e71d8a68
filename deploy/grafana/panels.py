"""The kinds of panel that the dashboards are made of; each has a unit, a description, and thresholds where they say something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.board import SOURCE

HEIGHT = 8
SMALL = 5
Query = tuple[str, str]
"""An expression and the legend of its series."""
Thresholds = Sequence[tuple[float | None, str]]
"""Colours, each with the value from which on it holds; None is below all."""
PLAIN: Thresholds = [(None, "text")]
"""For a number that is neither good nor bad."""


def graph(
    title: str, description: str, unit: str, *queries: Query, thresholds: Thresholds | None = None, span: int = 12,
    stacked: bool = False, from_zero: bool = True,
) -> timeseries.Panel:  # fmt: skip
    """Series over time, on an axis that has the zero unless told otherwise; thresholds are dashed lines."""
    panel = (
        timeseries.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(span)
        .fill_opacity(30 if stacked else 8).line_width(1).show_points(looks.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).display_mode(looks.LegendDisplayMode.LIST)
                .placement(looks.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    )  # fmt: skip
    if from_zero:
        panel = panel.axis_soft_min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if thresholds:
        dashed = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_steps(thresholds)).thresholds_style(dashed)
    for number, query in enumerate(queries):
        panel = panel.with_target(_target(number, query).range())
    return panel


def number(
    title: str, description: str, unit: str, *queries: Query, thresholds: Thresholds, span: int = 4, decimals: int = 1
) -> stat.Panel:
    """The last value of each series, coloured by the thresholds, with its course behind it."""
    panel = (
        stat.Panel().title(title).description(description).unit(unit).decimals(decimals).datasource(SOURCE)
        .height(SMALL).span(span).thresholds(_steps(thresholds)).color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.AREA).text_mode(looks.BigValueTextMode.AUTO).no_value("no data")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )  # fmt: skip
    for place, query in enumerate(queries):
        panel = panel.with_target(_target(place, query).range())
    return panel


def bars(
    title: str, description: str, unit: str, query: Query, *, thresholds: Thresholds = PLAIN, span: int = 12
) -> bargauge.Panel:
    """The present value of each series, one bar each."""
    return (
        bargauge.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(span)
        .min(0).thresholds(_steps(thresholds)).orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC).no_value("none")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(0, query).instant())
    )  # fmt: skip


def states(
    title: str, description: str, query: Query, names: Mapping[int, tuple[str, str]], *, span: int = 12
) -> statetimeline.Panel:
    """Series that are one of a few numbers, as bands; ``names`` gives each number its word and colour."""
    options = {
        str(value): models.ValueMappingResult(text=text, color=color, index=value)
        for value, (text, color) in names.items()
    }
    return (
        statetimeline.Panel().title(title).description(description).unit("none").datasource(SOURCE).height(HEIGHT)
        .span(span).mappings([models.ValueMap(options=options)]).show_value(looks.VisibilityMode.NEVER)
        .color_scheme(FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(_steps([(value, color) for value, (_, color) in names.items()]))
        .with_target(_target(0, query).range())
    )  # fmt: skip


def _target(number: int, query: Query) -> prometheus.Dataquery:
    expr, legend = query
    return prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(expr).legend_format(legend).datasource(SOURCE)


def _steps(thresholds: Thresholds) -> ThresholdsConfig:
    steps = [models.Threshold(value=value, color=color) for value, color in thresholds]
    return ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
