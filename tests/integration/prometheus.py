"""A real Prometheus for the tests, under the committed configuration and rules."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from services.cli.loopback import free_port
from services.cli.watchdog import Watchdog
from tests.debian import program
from tests.observability import CONFIGURATION, RULES

_START_S = 60
Labels = dict[str, str]


def programs(folder: Path) -> Path:
    """A folder with ``prometheus`` and ``promtool``; the test fails, with what to install, if they cannot be had."""
    for name in ("prometheus", "promtool"):
        program(name, ["prometheus"], folder)
    return folder


def promtool(found: Path, *arguments: str, text: str | None = None) -> str:
    """Run promtool; what it printed. The test fails if it finds fault."""
    done = subprocess.run(
        [found / "promtool", *arguments], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """A server that scrapes ``targets`` (host:port by job) every second, under the committed configuration and rules.

    Only these differ: the targets, the intervals, ``for`` and the windows of five minutes of rules, which are a few
    seconds. Leaving the block ends it.
    """

    def __init__(self, found: Path, folder: Path, targets: Mapping[str, str], pipeline: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._targets = len(targets)
        self._watchdog = Watchdog()
        self._configure(targets, pipeline)
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    found / "prometheus", f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=self._watchdog.group,
            )  # fmt: skip
        self._client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def _configure(self, targets: Mapping[str, str], pipeline: str) -> None:
        loaded = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
        loaded["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in loaded["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
            for relabel in job.get("relabel_configs", ()):
                relabel["replacement"] = pipeline
        (self._folder / "rules").mkdir(parents=True)
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(loaded), encoding="utf-8")
        for path in RULES:
            rules = yaml.safe_load(path.read_text(encoding="utf-8"))
            for group in rules["groups"]:
                for rule in group["rules"]:
                    rule["expr"] = rule["expr"].replace("[5m]", "[5s]")
                    if "for" in rule:
                        rule["for"] = "3s"  # a busy machine may miss a scrape
            (self._folder / "rules" / path.name).write_text(yaml.safe_dump(rules), encoding="utf-8")

    def __enter__(self) -> Prometheus:
        return self

    def wait_ready(self) -> None:
        """Wait until it has scraped every target, and has taken back what fired before it had."""
        deadline = time.monotonic() + _START_S
        while not self._ready():
            assert self._process.poll() is None, self._log.read_text()[-1500:]
            assert time.monotonic() < deadline, self._log.read_text()[-1500:]
            time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()
        self._watchdog.dismiss()

    def _ready(self) -> bool:
        try:
            if not self._client.get("/-/ready").is_success:
                return False
        except httpx.HTTPError:
            return False
        return len(self.get("query", query="up == 1")["result"]) == self._targets and not self.firing()

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of the API; the test fails on an error, such as an expression that does not parse."""
        answer = self._client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def range(self, expr: str, since: float) -> list[tuple[Labels, list[float]]]:
        """Series of an expression since then, second by second: labels, and the values that are numbers."""
        start = math.ceil(since)
        found = self.get("query_range", query=expr, start=f"{start}", end=f"{max(start, int(time.time()))}", step="1")
        series = [(each["metric"], [float(value) for _, value in each["values"]]) for each in found["result"]]
        return [(labels, [value for value in values if not math.isnan(value)]) for labels, values in series]

    def firing(self) -> dict[str, set[tuple[tuple[str, str], ...]]]:
        """Alerts that fire now: the labels of each by its name."""
        found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
        for alert in self.get("alerts")["alerts"]:
            if alert["state"] == "firing":
                labels = dict(alert["labels"])
                found.setdefault(labels.pop("alertname"), set()).add(tuple(sorted(labels.items())))
        return found
