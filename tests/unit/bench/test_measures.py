"""What the benchmarks compute and write down."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from bench import results, versions
from bench.clock import cpu_seconds
from bench.goals import Goal, ratios
from bench.peers import kafka_streams
from bench.window import Measured, Sample, window


def measured(rate: float, cpu_us: float) -> Measured:
    return Measured(1000, 1000 / rate, 1000 * cpu_us / 1e6)


def test_a_ratio_is_taken_within_a_round():
    """A round in which everything is half as fast leaves the ratio as it is, and one without a partner does not count."""
    rounds = {
        "ours": [measured(400, 5), measured(200, 10), measured(400, 5)],
        "theirs": [measured(100, 20), measured(50, 40), None],
    }
    rate, cpu = ratios(rounds, "ours", "theirs", "rate"), ratios(rounds, "ours", "theirs", "cpu")
    assert (rate.low, rate.median, rate.high) == pytest.approx((4, 4, 4))
    assert cpu.median == pytest.approx(0.25)
    assert ratios(rounds, "ours", "nobody", "rate") is None


@pytest.mark.parametrize(
    ("measure", "bound", "ratio", "verdict"),
    [
        ("rate", 40.0, 44.0, "met by 10 %"),
        ("rate", 40.0, 20.0, "**missed** by 50 %"),
        ("cpu", 1.2, 0.9, "met by 25 %"),
        ("cpu", 1.0, 2.5, "**missed** by 150 %"),
    ],
)
def test_a_verdict_says_by_how_much(measure, bound, ratio, verdict):
    """At least for events a second, at most for CPU; the distance is a share of the bound."""
    assert Goal("", "", "", measure, bound).verdict(ratio) == verdict


def test_a_window_counts_records_not_transaction_markers():
    """Offsets that markers took are no events, and time and CPU are those between the two samples around the window."""
    offsets = {0: [0, 1, 3, 4, 6], 1: [0, 2]}
    samples = [
        Sample(10.0, 1.0, 5.0, 20.0, (0, 0)),
        Sample(11.0, 1.5, 5.5, 22.0, (3, 0)),  # two records and a marker
        Sample(12.0, 2.0, 6.0, 23.0, (5, 2)),
        Sample(13.0, 2.5, 7.0, 25.5, (7, 3)),
    ]
    assert window(samples, offsets, 2, 5) == Measured(5, 2.0, 1.0, 1.5, others=0.5)
    with pytest.raises(ValueError, match="7 records were seen to come, of 8"):
        window(samples, offsets, 2, 6)


def test_each_program_replaces_only_its_own_results(tmp_path):
    """What stands outside the markers, other parts and prose, stays as it is, and a part is written once."""
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n\nProse.\n", encoding="utf-8")
    results.put("peers", ["old"], path)
    results.put("stages", ["kept"], path)
    path.write_text(path.read_text(encoding="utf-8") + "\nMore prose.\n", encoding="utf-8")
    results.put("peers", ["new"], path)
    text = path.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.count("peers: begin") == text.count("new") == 1
    assert text.startswith("# Results\n\nProse.\n")
    assert text.endswith("<!-- stages: end -->\n\nMore prose.\n")


def test_results_name_the_commit_and_whether_files_were_changed(tmp_path):
    """Prose and charts, which the programs write themselves, are no changes; a new module is one, and no checkout no commit."""

    def git(*arguments):
        options = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", tmp_path, *options, *arguments], check=True, capture_output=True)

    assert versions.commit(tmp_path) == "an unknown commit (this is no git checkout)"
    git("init")
    (tmp_path / "RESULTS.md").write_text("old")
    git("add", ".")
    git("commit", "--message", "first")
    (tmp_path / "RESULTS.md").write_text("new")
    assert re.fullmatch(r"[0-9a-f]{7,}, in a clean checkout", versions.commit(tmp_path))
    (tmp_path / "hot.py").write_text("")
    assert versions.commit(tmp_path).endswith(", in a checkout with 1 file changed")


def test_results_name_what_took_part_beside_python():
    """Kafka and its Java are told with their versions, as the pinned lists have them."""
    kafka, java = versions.broker()
    assert re.fullmatch(r"Kafka \d+\.\d+\.\d+", kafka)
    assert re.match(r"Java \d+", java)
    assert kafka_streams.version().removeprefix("Kafka Streams ") == kafka.removeprefix("Kafka ")
    line = results.circumstances("peers", ("msgspec",), [kafka, java])[-1]
    assert "msgspec" in line
    assert line.endswith(f", {kafka}, {java}.")


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU clocks of other processes are Linux's")
def test_the_cpu_clock_of_a_process_is_read_from_outside():
    """It is what the process itself says, and a process that is not there is an error."""
    before = time.process_time()
    read = cpu_seconds(os.getpid())
    assert before <= read <= time.process_time()
    with pytest.raises(ProcessLookupError):
        cpu_seconds(2**22 + 1)
