"""What is told of latencies, and what is not written down."""

from __future__ import annotations

import pytest

from bench.latency import report
from bench.latency.__main__ import finished
from bench.latency.measures import Measured, Quantiles
from bench.latency.systems import AT_LEAST_ONCE, EXACTLY_ONCE, KAFKA_STREAMS


def run(p50: float = 10.0, p99: float = 40.0, *, lost: int = 0, repeats: int = 0) -> Measured:
    return Measured(200.0, {"both": Quantiles(p50, p99, 2 * p99)}, lost, repeats, 0.1)


def test_each_quantile_of_a_goal_says_by_how_much_it_is_met_or_missed_and_its_range():
    """Of the medians; the range is of all rounds."""
    found = {("200/s", EXACTLY_ONCE.name): [run(12.0, 75.0), run(10.0, 60.0), run(15.5, 90.5)]}
    assert report.goals(found)[2:] == [
        "| Rivermill, exactly once | 200/s | ≤ 15, ≤ 50 ms | 12.0, 75.0 ms | 10.0 to 15.5, 60.0 to 90.5 ms "
        "| p50 met by 20 %, p99 **missed** by 50 % |"
    ]


def test_kafka_streams_latency_is_a_goal_of_its_own():
    """At half load, its medians are the bounds."""
    found = {("50 %", EXACTLY_ONCE.name): [run(50.0, 300.0)], ("50 %", KAFKA_STREAMS.name): [run(100.0, 200.0)]}
    assert report.goals(found)[-1] == (
        "| Rivermill, exactly once | 50 % | below Kafka Streams' 100.0, 200.0 ms | 50.0, 300.0 ms "
        "| 50.0 to 50.0, 300.0 to 300.0 ms | p50 met by 50 %, p99 **missed** by 50 % |"
    )


@pytest.mark.parametrize(
    ("system", "bad", "told"),
    [
        (EXACTLY_ONCE, run(lost=3), "Rivermill, exactly once, 200/s, round 2: 3 lost, 0 repeated"),
        (EXACTLY_ONCE, run(repeats=1), "Rivermill, exactly once, 200/s, round 2: 0 lost, 1 repeated"),
        (KAFKA_STREAMS, run(repeats=1), "round 2: 0 lost, 1 repeated"),
        (AT_LEAST_ONCE, run(lost=1), "Rivermill, at least once, 200/s, round 2: 1 lost, 0 repeated"),
    ],
)
def test_a_run_that_lost_or_repeated_events_is_not_written_down(tmp_path, capsys, system, bad, told):
    """What stands in the file stays, the run is named, and the exit status tells."""
    path = tmp_path / "RESULTS.md"
    found = {("200/s", system.name): [run(), bad, run()]}
    assert finished(found, ["a table"], write=True, path=path) == 1
    assert not path.exists()
    assert told in capsys.readouterr().out


def test_whole_runs_are_written_down(tmp_path):
    """At least once may repeat; with too few rounds nothing is written."""
    path = tmp_path / "RESULTS.md"
    found = {("200/s", EXACTLY_ONCE.name): [run()], ("200/s", AT_LEAST_ONCE.name): [run(repeats=9)]}
    assert finished(found, ["a table"], write=False, path=path) == 0
    assert not path.exists()
    assert finished(found, ["a table"], write=True, path=path) == 0
    assert "a table" in path.read_text(encoding="utf-8")
