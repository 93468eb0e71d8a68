"""The one table of what the Kafka services measure; labels come from bounded sets, and children are cached."""

from __future__ import annotations

from math import nan

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call] # the library's
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LANE = ("stage", "lane")

RECORDS_IN = Counter("rivermill_records_in_total", "Records read by a lane", _LANE)
RECORDS_OUT = Counter("rivermill_records_out_total", "Records written by a lane, checkpoints included", _LANE)
TOTALS = Gauge(
    "rivermill_lane_records", "A total of the lane's account since its beginning, as checkpointed", (*_LANE, "what")
)
DEADLETTERS = Counter("rivermill_deadletters_total", "Dead letters written by a lane", _LANE)
LAG = Gauge("rivermill_lag_records", "Committed records that the lane has not read yet", (*_LANE, "input"))
PROCESS_SECONDS = Histogram(
    "rivermill_batch_process_seconds", "Time in the pure core for one batch", _LANE, buckets=_SECONDS
)
COMMIT_SECONDS = Histogram(
    "rivermill_batch_commit_seconds", "Time from the first send of a batch to its commit", _LANE, buckets=_SECONDS
)
EVENT_AGE_SECONDS = Histogram(
    "rivermill_event_age_seconds", "From the raw record's arrival to the commit of this stage's output (newest of a batch)",
    _LANE, buckets=(*_SECONDS, 30.0, 120.0, 600.0),
)  # fmt: skip
WATERMARK = Gauge("rivermill_watermark_seconds", "The lane's watermark (event time, seconds since the epoch)", _LANE)
LANES = Gauge("rivermill_lanes", "Lanes that this process runs", ("stage",))
FENCED = Counter("rivermill_lanes_fenced_total", "Lanes that ended because another process owns them", ("stage",))
RESTORE_SECONDS = Histogram(
    "rivermill_restore_seconds", "From a lane's start to its first fetch", ("stage",), buckets=(*_SECONDS, 30.0, 120.0)
)
PAUSED = Gauge("rivermill_input_paused", "1 while a bound keeps the lane from reading this input", (*_LANE, "input"))

_FRESH = (
    0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
FRESHNESS_SECONDS = Histogram(
    "rivermill_freshness_seconds",
    "From a raw label's arrival to the commit of the first predictions made with it",
    buckets=_FRESH,
)
LABEL_LAG_SECONDS = Histogram(
    "rivermill_label_lag_seconds",
    "From a raw label's arrival to that of the first event that can be predicted with it: a backtest's --label-lag",
    buckets=_FRESH,
)
STALENESS_SECONDS = Gauge(
    "rivermill_serving_staleness_seconds",
    "Since the newest label in the champion that is served came in; NaN where it has learned none, or none is served",
)
STALENESS_SECONDS.set(nan)
SERVED_VERSION = Gauge("rivermill_served_version", "Version of the champion that is served", ("candidate",))
SERVED_OFFSET = Gauge("rivermill_served_examples_offset", "examples_offset of the champion that is served")
SERVED_CHALLENGERS = Gauge("rivermill_served_challengers", "Challengers that are scored beside the champion")
SERVED_MODEL = Gauge(
    "rivermill_served_model_info",
    "1 for the champion that is served: its candidate, whether it is pinned to one version, the spec it was chosen under",
    ("candidate", "pinned", "spec"),
)
SWAPS = Counter("rivermill_served_swaps_total", "Times that the serving state was exchanged", ("how",))
REFUSED = Counter("rivermill_served_refused_total", "Snapshots or parameters refused, by reason", ("reason",))

PREQUENTIAL = Gauge(
    "rivermill_prequential", "Metric on scores made before the label was known", ("candidate", "metric")
)
VERSIONS = Counter("rivermill_versions_published_total", "Versions published to the registry", ("candidate",))
LIVE_BYTES = Gauge("rivermill_live_parameters_bytes", "Size of the last live parameters record")
LIVE_WITHHELD = Gauge("rivermill_live_withheld", "1 for a candidate too large for live parameters", ("candidate",))
CANDIDATE_WITHDRAWN = Gauge(
    "rivermill_candidate_withdrawn", "1 for a candidate that the log has withdrawn from learning", ("candidate",)
)
REPAIRS = Counter(
    "rivermill_repairs_total",
    "Changes that cleaning made, by field (empty: the record itself) and rule",
    ("field", "rule"),
)
DEDUPE_SPAN_SECONDS = Gauge(
    "rivermill_dedupe_span_seconds", "Time of arrival that the remembered ids reach back, since the last restore", _LANE
)
FIELD_INVARIABLE = Gauge(
    "rivermill_field_invariable", "1 for a field whose first 1,000 values and more were all the same", (*_LANE, "field")
)
FIELD_MISSING_RATIO = Gauge(
    "rivermill_field_missing_ratio", "Share of events that came without the field", (*_LANE, "field")
)
UNKNOWN_FIELDS = Gauge(
    "rivermill_unknown_field_records",
    "Events that came with a field that the pipeline file does not name (32 names, then __other__)",
    (*_LANE, "field"),
)
WAITING_LABELS_BOUND = Gauge("rivermill_waiting_labels_bound", "Labels that may wait for their prediction", _LANE)
PREDICTIONS_ON_DISK = Gauge(
    "rivermill_predictions_on_disk", "Predictions remembered for their labels that lie on the local disk", _LANE
)
CHALLENGER_FAILURES = Gauge(
    "rivermill_challenger_failures", "Challengers' scores that failed with the served state", _LANE
)
INCIDENTS_OPEN = Gauge("rivermill_incidents_open", "Drift incidents open", ("kind", "severity"))
DRIFT_SUM_RATIO = Gauge(
    "rivermill_drift_sum_ratio",
    "A signal's running sum (CUSUM) by the threshold in force: beyond 1 it is flagged",
    ("signal",),
)
DRIFT_OUT = Gauge(
    "rivermill_drift_out", "1 for a signal that was flagged and has neither recovered nor been accepted", ("signal",)
)
DRIFT_LEVEL = Gauge(
    "rivermill_drift_level", "Mean level of a signal since its sum left zero, in the feature's own unit", ("signal",)
)
DRIFT_REFERENCE = Gauge(
    "rivermill_drift_reference", "Mean level of a signal in the reference that it is compared with", ("signal",)
)

OF_A_LANE = (
    TOTALS, LAG, WATERMARK, PAUSED, DEDUPE_SPAN_SECONDS, FIELD_INVARIABLE, FIELD_MISSING_RATIO, UNKNOWN_FIELDS,
    WAITING_LABELS_BOUND, PREDICTIONS_ON_DISK, CHALLENGER_FAILURES,
)  # fmt: skip
"""What a lane that has left the process must no longer tell: it is another process's now, and sums would count it twice."""
OF_THE_FOLD = (PREQUENTIAL, LIVE_WITHHELD, CANDIDATE_WITHDRAWN)
OF_DETECTION = (INCIDENTS_OPEN, DRIFT_SUM_RATIO, DRIFT_OUT, DRIFT_LEVEL, DRIFT_REFERENCE)
"""As above, of the one lane that trains and of the one that detects."""
