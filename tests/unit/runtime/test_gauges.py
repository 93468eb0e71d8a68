"""What a lane tells Prometheus: all of it while it is here, nothing that others would tell as well once it has left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import REGISTRY, Gauge

from schemas.state import Checkpoint
from services.domain.records import Incoming, Out, Output, Standing
from services.runtime import metrics
from services.runtime.gauges import LaneGauges
from services.runtime.settings import Settings
from services.runtime.stage import Driver, Stage


class Counting:
    """A core that counts what it is given."""

    def __init__(self) -> None:
        self.totals = {"in": 0}

    def process(self, batch: Sequence[Incoming], now: int) -> Output:  # noqa: ARG002 - the protocol's
        self.totals["in"] += len(batch)
        return Output()

    def standing(self) -> Standing:
        return Standing()


async def never(lane: int, checkpoint: Checkpoint | None) -> Driver:
    raise AssertionError((lane, checkpoint))


def stage(name: str) -> Stage:
    return Stage(
        service="cleaning", name=name, pipeline="p", partitions=1, counts={"p.events.raw": 1}, open=never,
        settings=Settings(data_dir=Path("unused")),
    )  # fmt: skip


def value(metric: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(metric, labels)


def test_totals_are_told_after_a_commit_and_not_again_within_a_second() -> None:
    """A change that comes within the second is not lost: it is told later, though nothing is committed any more."""
    gauges, driver = LaneGauges(stage("told"), 0), Driver(Counting())
    lane = {"stage": "told", "lane": "0", "what": "in"}
    gauges.report(driver)
    assert value("rivermill_lane_records", **lane) is None
    for total in (1, 2):
        driver.core.totals["in"] = total
        gauges.committed({}, 0.1, ())
        gauges.report(driver)
    assert value("rivermill_lane_records", **lane) == 1
    gauges._told_at -= 1
    gauges.report(driver)
    assert value("rivermill_lane_records", **lane) == 2


def test_dead_letters_are_counted_apart_from_other_output() -> None:
    """What goes to the topic deadletter counts as output and as dead letters, the rest as output alone."""
    gauges = LaneGauges(stage("dead"), 0)
    out = Out(b"k", b"v", 0)
    assert value("rivermill_deadletters_total", stage="dead", lane="0") == 0
    gauges.committed({("p.deadletter", 0): [out], ("p.events.clean", 0): [out, out]}, 0.1, ())
    assert value("rivermill_deadletters_total", stage="dead", lane="0") == 1
    assert value("rivermill_records_out_total", stage="dead", lane="0") == 3


def test_a_lane_that_has_left_tells_nothing_that_its_next_owner_tells() -> None:
    """Of every gauge of a lane no series is left, and of another lane of the stage all are."""
    for lane in ("0", "1"):
        for gauge in metrics.OF_A_LANE:
            more = {name: "x" for name in gauge._labelnames if name not in {"stage", "lane"}}
            gauge.labels(stage="left", lane=lane, **more).set(1)
    LaneGauges(stage("left"), 0).clear()
    left = [
        sample.labels["lane"]
        for gauge in metrics.OF_A_LANE
        for family in gauge.collect()
        for sample in family.samples
        if sample.labels["stage"] == "left"
    ]
    assert left == ["1"] * len(metrics.OF_A_LANE)


def test_every_gauge_with_a_lane_is_forgotten_with_it() -> None:
    """The list of what is forgotten leaves out no gauge that has a lane among its labels."""
    gauges = {metric for metric in vars(metrics).values() if isinstance(metric, Gauge) and "lane" in metric._labelnames}
    assert gauges == set(metrics.OF_A_LANE)
