"""A real Prometheus scrapes a real pipeline, under the committed configuration: every query has data, alerts fire.

The flights are replayed, soiled; a challenger is promoted, a version pinned, forged live parameters are sent.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import promql_parser
import pytest

from examples.flights.data import flights
from examples.flights.dirt import soil
from examples.flights.replay import Replay
from services.cli.broker import Broker
from services.domain.registry_api import CHALLENGER_PREFIX, CHAMPION, SetAlias
from tests.integration.pipelines import ANSWER_S, Pipeline, fresh_name, send, until
from tests.integration.prometheus import Labels, Prometheus, programs, promtool
from tests.observability import (
    CONFIGURATION,
    RULE_TESTS,
    RULES,
    Asked,
    annotations,
    filled,
    panel_queries,
    rule_queries,
    selectors,
)

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights" / "pipeline.toml"
DAYS, SPEED, DIRT, SEED = 2, 14_400, 0.3, 2013
CHALLENGER = f"{CHALLENGER_PREFIX}logistic-sgd"
QUIET = {'rivermill_registry_requests_total{status=~"5.."}': "the registry has failed to answer no request"}
"""Selectors of alerts that find nothing while all is well, and why."""
NEVER = {"RivermillProcessDown", "RivermillServiceAbsent", "RivermillCrashLoop", "RivermillStageWithoutLanes",
         "RivermillLanesFenced", "RivermillCandidateWithdrawn", "RivermillRegistryErrors"}  # fmt: skip
"""Alerts that must not have fired, for even one second, while the pipeline worked."""


@dataclass
class Observed:
    """A pipeline that has worked, and the Prometheus that has watched it ``since`` then (epoch seconds)."""

    pipeline: Pipeline
    prometheus: Prometheus
    since: float

    @property
    def name(self) -> str:
        return self.pipeline.deployment.name

    def series(self, expr: str) -> list[tuple[Labels, list[float]]]:
        """Series of an expression, filled in as Grafana does, that have had a number."""
        return [found for found in self.prometheus.range(filled(expr, self.name), self.since) if found[1]]

    async def seen(self, expr: str) -> None:
        """Wait until an expression has had a number."""

        async def there() -> bool:
            return bool(self.series(expr))

        await until(there, expr)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``prometheus`` and ``promtool`` are."""
    return programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def observed(broker: str, found: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Two days of flights have been worked off, and what people and attackers do has been done meanwhile."""
    folder = tmp_path_factory.mktemp("prometheus")
    text = FLIGHTS.read_text(encoding="utf-8").replace('name = "flights"', f'name = "{fresh_name("observed")}"', 1)
    with Pipeline(folder, broker, text) as pipeline:
        for service in ("registry", "cleaning", "scoring", "learner", "drift"):
            pipeline.start(service)
        targets = {name: process.url.removeprefix("http://") for name, process in pipeline.processes.items()}
        with Prometheus(found, folder / "prometheus", targets, pipeline.deployment.name) as prometheus:
            pipeline.wait_ready()
            prometheus.wait_ready()
            watched = Observed(pipeline, prometheus, time.time())
            asyncio.run(work(watched))
            yield watched


async def work(watched: Observed) -> None:
    deployment = watched.pipeline.deployment
    replay = asyncio.create_task(replayed(watched, DAYS, SPEED).run())
    await decide(watched)
    await send(deployment, deployment.topic("parameters"), [(b"live", b"forged")])
    await replay
    await watched.pipeline.settle()
    await watched.seen('ALERTS{alertname="RivermillStateRefused", alertstate="firing"}')


def replayed(watched: Observed, days: int, speed: float) -> Replay:
    deployment = watched.pipeline.deployment
    sends = soil(flights(days, None), DIRT, SEED, kilometres=False)
    return Replay(deployment.settings.kafka(), sends, deployment.name, speed)


async def decide(watched: Observed) -> None:
    """Promote the challenger, pin it, and promote the first champion again."""
    name = watched.name
    served = 'rivermill_served_model_info{pipeline="$pipeline", candidate="logistic-sgd", '
    async with watched.pipeline.registry() as client:

        async def both() -> bool:
            return {CHAMPION, CHALLENGER} <= (await client.aliases(name)).keys()

        await until(both, "the challenger, which is published after the champion")
        aliases = await client.aliases(name)
        first, second = aliases[CHAMPION].version, aliases[CHALLENGER].version
        await watched.seen('rivermill_prequential{candidate="logistic", metric="examples"} > 50')
        await client.set_alias(name, CHAMPION, SetAlias(version=second, live=True, reason="to see it in the metrics"))
        await watched.seen(served + 'pinned="false"}')
        await client.set_alias(name, CHAMPION, SetAlias(version=second, live=False, reason="to see it in the metrics"))
        await watched.seen(served + 'pinned="true"}')
        await client.set_alias(name, CHAMPION, SetAlias(version=first, live=True, reason="as it was"))


def test_promtool_accepts_the_configuration_and_the_rules_and_runs_their_tests(found: Path) -> None:
    """The committed files are valid, and every rule does in promtool's tests what they say."""
    promtool(found, "check", "config", str(CONFIGURATION))
    promtool(found, "check", "rules", *map(str, RULES))
    assert "FAILED" not in promtool(found, "test", "rules", *map(str, RULE_TESTS))


def test_the_metrics_of_every_process_follow_prometheus_conventions(observed: Observed, found: Path) -> None:
    """Promtool, to which all five processes are shown, finds no fault with any name, type or help."""
    assert len(observed.pipeline.processes) == 5
    for name, process in observed.pipeline.processes.items():
        page = httpx.get(f"{process.url}/metrics", timeout=ANSWER_S, trust_env=False).text
        assert "rivermill_" in page
        assert promtool(found, "check", "metrics", text=page) == "", name


def test_every_query_of_every_panel_has_data(observed: Observed, capsys: pytest.CaptureFixture[str]) -> None:
    """Each parses and has at least one series with a number, which has every label that the legend shows."""
    queries = panel_queries()
    found = [(query, observed.series(query.expr)) for query in queries]
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"{it.file:9} {it.name:42} {len(series):4}\n" for it, series in found))
    assert [f"{query.file}: {query.name}: {query.expr}" for query, series in found if not series] == []
    assert [f"{query.file}: {query.name}" for query, series in found if not legend_is_full(query, series)] == []


def legend_is_full(query: Asked, series: list[tuple[Labels, list[float]]]) -> bool:
    shown = set(re.findall(r"{{(\w+)}}", query.legend))
    return any(shown <= labels.keys() for labels, _ in series)


def test_what_was_decided_and_served_is_annotated(observed: Observed) -> None:
    """The promotions and the pin are there, on each dashboard, with the words that the annotation shows."""
    for query in annotations():
        assert legend_is_full(query, observed.series(query.expr)), f"{query.file}: {query.name}"
    pinned = {
        labels["pinned"]
        for query in annotations()
        if query.name == "Served"
        for labels, _ in observed.series(query.expr)
    }
    assert pinned == {"true", "false"}


def test_every_recording_rule_records(observed: Observed) -> None:
    """Each is evaluated without error and has recorded a number."""
    groups = observed.prometheus.get("rules", type="record")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    assert [rule.name for rule in rule_queries("record") if not observed.series(rule.name)] == []


def test_every_alert_looks_at_metrics_that_are_there(observed: Observed) -> None:
    """Each is evaluated without error, and each selector of its expression finds series, but for those with a reason."""
    groups = observed.prometheus.get("rules", type="alert")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    asked = {
        str(each): rule.name for rule in rule_queries("alert") for each in selectors(promql_parser.parse(rule.expr))
    }
    blind = {selector: name for selector, name in asked.items() if not observed.series(selector)}
    assert blind.keys() == QUIET.keys(), blind


def test_alerts_fire_for_dead_letters_and_a_refused_state_and_no_others_for_a_pipeline_that_works(
    observed: Observed,
) -> None:
    """Dirt and forged live parameters are told of; nothing is told of processes, lanes, candidates or the registry."""
    fired = {labels["alertname"] for labels, _ in observed.series('ALERTS{alertstate="firing"}')}
    assert {"RivermillDeadLetters", "RivermillStateRefused"} <= fired
    assert not NEVER & fired


def test_alerts_fire_for_a_process_that_is_down_and_for_a_stage_that_is_behind(
    observed: Observed, embedded_broker: Broker
) -> None:
    """Drift is ended: its process is down, and no other. Kafka stops in the middle of a flood: cleaning is behind."""

    async def scenario() -> None:
        observed.pipeline.terminate("drift")
        await until(lambda: fires("RivermillProcessDown", job="drift"), "the process that is down")
        assert {dict(each)["job"] for each in observed.prometheus.firing()["RivermillProcessDown"]} == {"drift"}
        flood = replayed(observed, 60, math.inf)
        running = asyncio.create_task(flood.run())
        await until(flooded, "the flood")
        embedded_broker.pause()
        try:
            await until(lambda: fires("RivermillStageBehind", stage="clean"), "the stage that is behind")
        finally:
            embedded_broker.resume()
            flood.stop()
        await running

    async def fires(name: str, **labels: str) -> bool:
        firing = observed.prometheus.firing().get(name, set())
        return any(labels.items() <= dict(each).items() for each in firing)

    async def flooded() -> bool:
        query = 'sum(rivermill_lag_records{stage="clean"}) > 1000'
        return bool(observed.prometheus.get("query", query=query)["result"])

    asyncio.run(scenario())
