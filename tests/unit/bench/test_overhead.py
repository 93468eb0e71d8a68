"""What metrics and logs cost is measured against a service that has neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.goals import Spread
from bench.overhead import noise

ROOT = Path(__file__).parents[3]
SERVICE = """
import sys
import structlog
from prometheus_client import generate_latest
from services.runtime import logs, metrics
logs.configure("scoring")
metrics.RECORDS_IN.labels("score", "0").inc(7)
metrics.LAG.labels("score", "0", "x").set(7)
metrics.COMMIT_SECONDS.labels("score", "0").observe(7.0)
structlog.get_logger().error("told")
samples = [line for line in generate_latest().decode().splitlines() if line.startswith("rivermill_") and "lane=" in line]
print(len(samples), sum(float(line.split()[-1]) for line in samples) > 0, sys.argv[1:])
"""


@pytest.mark.parametrize(("through", "counts"), [((), True), (("bench.silent",), False)])
def test_a_silent_service_counts_nothing_and_logs_nothing(tmp_path, through, counts):
    """Its metrics are there and stay at nought, its log is empty, and its arguments are its own."""
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    modules = [*through, "service"]
    done = subprocess.run(
        [sys.executable, "-m", *modules, "--pipeline", "x"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    many, counted, arguments = done.stdout.split(maxsplit=2)
    assert int(many) > 10
    assert counted == str(counts)
    assert arguments.strip() == "['--pipeline', 'x']"
    assert bool(done.stderr) is counts


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.94, 1.02, "up to 6.0%"), (0.99, 1.09, "up to 9.0%"), (0.971, 1.029, ""), (0.99, 1.031, "up to 3.1%")],
)
def test_noise_beyond_the_goals_margin_is_told(low, high, told):
    """On either side of one: then a verdict near the bound says little."""
    found = noise(Spread(1.0, low, high))
    assert (f"The noise exceeds the goal's margin**: {told} from one round to the next" in found) is bool(told)
    assert bool(found) is bool(told)
