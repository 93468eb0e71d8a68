"""What all dashboards share: variables, links between them, and the annotations of what was decided and served."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG = "rivermill"
_DECIDED = """sum by (pipeline, verb) (
  (rivermill_registry_alias_decisions_total{pipeline=~"$pipeline"}
    unless rivermill_registry_alias_decisions_total{pipeline=~"$pipeline"} offset 1m)
  or increase(rivermill_registry_alias_decisions_total{pipeline=~"$pipeline"}[1m])
) > 0"""
"""``increase`` does not see a series begin, and each verb's begins with the first decision of its kind."""
_SERVED = """max by (pipeline, candidate, pinned) (rivermill_served_model_info{pipeline=~"$pipeline"})
  unless (max by (pipeline, candidate, pinned) (rivermill_served_model_info{pipeline=~"$pipeline"} offset 1m)
    unless on (pipeline, candidate) (rivermill_served_model_info{pipeline=~"$pipeline", pinned="true"}
      and on (pipeline, candidate) changes(rivermill_served_version{pipeline=~"$pipeline"}[1m]) > 0))"""
"""What is served now and was not a minute ago; of what is pinned, the version counts, too."""


class _Annotation(models.AnnotationQuery):
    """An annotation query with the text that Grafana's Prometheus data source shows; the SDK's own knows none."""

    def __init__(self, name: str, expr: str, text: str, color: str) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, icon_color=color, expr=expr)
        self._text = text

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": self.name, "textFormat": self._text}


class _Built(Builder[models.AnnotationQuery]):
    """A finished annotation where the SDK asks for its builder."""

    def __init__(self, annotation: models.AnnotationQuery) -> None:
        self._annotation = annotation

    def build(self) -> models.AnnotationQuery:
        """The annotation."""
        return self._annotation


def board(uid: str, title: str, description: str) -> Dashboard:
    """An empty dashboard: the last hour, a refresh every 15 s as Prometheus scrapes, its ``uid`` also its file's name."""
    pipelines = QueryVariable("pipeline").label("Pipeline").datasource(SOURCE).multi(True).include_all(True)
    return (
        Dashboard(f"Rivermill / {title}")
        .uid(f"rivermill-{uid}")
        .description(description)
        .tags([_TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("15s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            DashboardLink("Rivermill")
            .tags([_TAG])
            .type(models.DashboardLinkType.DASHBOARDS)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            pipelines.query("label_values(rivermill_lanes, pipeline)")
            .all_value(".*")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .current(models.VariableOption(selected=True, text="All", value="$__all"))
        )
        .annotation(_Built(_Annotation("Decided", _DECIDED, "{{pipeline}}: {{verb}}", "purple")))
        .annotation(_Built(_Annotation("Served", _SERVED, "{{candidate}}, pinned: {{pinned}}", "blue")))
    )


def row(title: str) -> Row:
    """A heading; the panels after it are added to the dashboard itself."""
    return Row(title)
