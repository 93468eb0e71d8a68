"""What the services measure, scraped over HTTP as Prometheus would, and made into one sample."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from copy import deepcopy

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

_STAGES = ("clean", "score", "join", "train", "summarise", "detect")
_FRESHNESS = "rivermill_freshness_seconds_bucket"
_LABEL_LAG = "rivermill_label_lag_seconds_bucket"
_TIMED = {
    f"rivermill_batch_{what}_seconds_{part}": (what, part)
    for what in ("process", "commit")
    for part in ("sum", "count")
}
Labels = dict[str, str]
Buckets = dict[float, float]


class Process(msgspec.Struct):
    """What one process uses."""

    cpu_seconds: float
    resident_mb: float


class Sample(msgspec.Struct):
    """The services at one moment (``at``: monotonic seconds). ``totals`` and ``lag`` are by stage; so is ``timed``, the
    sum of seconds and the count of batches in ``process`` and in ``commit``.

    ``staleness_s`` is the worst scoring process's; None while no champion has learned a label.
    """

    at: float
    totals: dict[str, dict[str, int]]
    lag: dict[str, int]
    processes: dict[str, Process]
    candidate: str | None = None
    version: int | None = None
    staleness_s: float | None = None
    freshness_median_s: float | None = None
    label_lag_median_s: float | None = None
    prequential: dict[str, dict[str, float]] = {}
    missing: list[str] = []
    timed: dict[str, dict[tuple[str, str], float]] = {}

    def total(self, stage: str, *names: str) -> int:
        """Totals of a stage, added up."""
        return sum(self.totals[stage].get(name, 0) for name in names)


class Scraper:
    """Scrapes ``endpoints`` (base URL by process); one that does not answer, or with a page that is no
    metrics of ours, is named in the sample's ``missing``.
    """

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        self._endpoints = endpoints
        self._client = httpx.AsyncClient(timeout=2.0, trust_env=False)

    async def sample(self) -> Sample:
        """One scrape of everything."""
        texts = await asyncio.gather(*(self._text(url) for url in self._endpoints.values()))
        sample = Sample(time.monotonic(), {stage: {} for stage in _STAGES}, dict.fromkeys(_STAGES, 0), {})
        buckets: dict[str, Buckets] = {_FRESHNESS: {}, _LABEL_LAG: {}}
        for name, text in zip(self._endpoints, texts, strict=True):
            before = deepcopy((sample, buckets))
            try:
                if text is None:
                    raise ValueError("no answer")
                _read(sample, name, text, buckets)
            except (ValueError, LookupError, ArithmeticError):
                sample, buckets = before
                sample.missing.append(name)
        sample.freshness_median_s = quantile(buckets[_FRESHNESS], 0.5)
        sample.label_lag_median_s = quantile(buckets[_LABEL_LAG], 0.5)
        return sample

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _text(self, url: str) -> str | None:
        try:
            response = await self._client.get(f"{url}/metrics")
        except httpx.HTTPError:
            return None
        return response.text if response.is_success else None


def _read(sample: Sample, process: str, text: str, buckets: dict[str, Buckets]) -> None:
    used = Process(0.0, 0.0)
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name == "process_cpu_seconds_total":
                used.cpu_seconds = value
            elif name == "process_resident_memory_bytes":
                used.resident_mb = value / 1e6
            elif name in buckets:
                bound = float(labels["le"])
                buckets[name][bound] = buckets[name].get(bound, 0.0) + value
            elif name.startswith("rivermill_"):
                _take(sample, name, labels, value)
    sample.processes[process] = used


def _take(sample: Sample, name: str, labels: Labels, value: float) -> None:
    if name == "rivermill_lane_records":
        stage = sample.totals.setdefault(labels["stage"], {})
        stage[labels["what"]] = stage.get(labels["what"], 0) + int(value)
    elif name == "rivermill_lag_records":
        sample.lag[labels["stage"]] = sample.lag.get(labels["stage"], 0) + int(value)
    elif name in _TIMED:
        timed = sample.timed.setdefault(labels["stage"], {})
        timed[_TIMED[name]] = timed.get(_TIMED[name], 0.0) + value
    elif name == "rivermill_served_version":
        sample.candidate, sample.version = labels["candidate"], int(value)
    elif name == "rivermill_serving_staleness_seconds":
        if value >= 0:  # NaN where nothing is served, or what is served has learned no label
            sample.staleness_s = max(value, sample.staleness_s or 0.0)
    elif name == "rivermill_prequential":
        sample.prequential.setdefault(labels["candidate"], {})[labels["metric"]] = value


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """A quantile of a histogram by its cumulative buckets, linear within one, as Prometheus does; None when empty."""
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank = share * buckets[bounds[-1]]
    below, least = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            within = count - below
            return least if bound == float("inf") or not within else least + (bound - least) * (rank - below) / within
        below, least = count, bound
    return least
