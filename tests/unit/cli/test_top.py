"""`rivermill top`: what it shows of a sample, and what it makes of what services say of themselves."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from schemas.alerts import Alert
from services.cli.__main__ import main
from services.cli.loopback import free_port
from services.cli.scrape import Process, Sample, Scraper, _read
from services.cli.top_view import milliseconds, screen, short
from services.runtime.metrics import COMMIT_SECONDS
from tests.unit.answering import pages_at
from tests.unit.cli.test_live_view import BEFORE, INCIDENT, NOW, STAGES, sample
from tests.unit.cli.watching import CTRL_C, watched
from tests.unit.registry.serving import serving

PROCESSES = {name: Process(10.0, 81.4) for name in ("cleaning", "learner", "registry", "scoring")}
USED = {name: Process(10.5, 182.6) for name in ("cleaning", "learner", "registry", "scoring")}


def shown(now: Sample, before: Sample | None, incidents: dict[str, Alert] | str, rows: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=80, height=rows)
    console.print(screen("flights on 127.0.0.1:9092", now, before, incidents, rows))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def told(lines: list[str]) -> str:
    return re.sub(r" +", " ", "\n".join(lines))


def test_the_screen_fits_80_columns_and_24_rows() -> None:
    """With everything that there may be, and more of it than there is room for, nothing is wider or longer."""
    many = {f"a-service-on-a-long-host-name-{number}:9101": Process(1.0, 123_456.0) for number in range(30)}
    prequential = {f"candidate-{number}": {"auc": 0.7, "log_loss": 0.4, "examples": 1e6} for number in range(9)}
    letters = {f"deadletter.a_rule_with_a_long_name_{number}": 10**9 + number for number in range(1, 30)}
    incidents = {str(number): INCIDENT for number in range(9)}
    totals = {stage: dict.fromkeys(of, 99_999) for stage, of in NOW.totals.items()} | {"clean": letters}
    now = sample(102.0, totals, prequential=prequential, candidate="candidate-1")
    now.processes, now.lag = many, dict.fromkeys(STAGES, 99_999)
    lines = shown(now, BEFORE, incidents)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "and 26 more" in told(lines)
    assert len(shown(now, BEFORE, incidents, rows=60)) > 24


@pytest.mark.parametrize(("count", "text"), [
    (0, "0"), (99_999, "99,999"), (100_000, "100k"), (1_234_567, "1.2M"), (123_456_789, "123M"), (10**9, "1.0G"),
    (99_960_000, "100.0M"), (10**15, "1,000T"),
])  # fmt: skip
def test_a_count_takes_six_characters_at_most(count: int, text: str) -> None:
    """Large counts are cut to the digits that one reads at a glance."""
    assert short(count) == text
    assert len(text) <= 6


def sample_of(at: float, processes: dict[str, Process], **timed: float) -> Sample:
    found = {("commit", "sum"): timed["spent"], ("commit", "count"): timed["batches"]}
    made = sample(at, {}, timed={"score": found})
    made.processes = processes
    return made


def test_times_and_cpu_are_those_between_two_looks() -> None:
    """A batch's time and a process's CPU are of the last interval, not of all time; a dash where there was none."""
    before, now = sample_of(100.0, PROCESSES, spent=8.0, batches=10), sample_of(102.0, USED, spent=8.2, batches=14)
    assert milliseconds("score", "commit", now, before) == pytest.approx(50.0)
    assert milliseconds("score", "process", now, before) is None
    text = told(shown(now, before, {}))
    assert "predicted 0 0 12 – 50" in text  # noqa: RUF001 - the dash of what is not known
    assert "cleaning 25 183 answers" in text


def test_what_does_not_answer_is_shown() -> None:
    """A process that is away has its row; incidents that cannot be read say why."""
    text = told(shown(NOW, BEFORE, "not known: the broker is away"))
    assert "drift away" in text
    assert "Incidents not known: the broker is away" in text


def test_the_champion_and_every_candidate_are_measured() -> None:
    """The champion's version and age, and a row of metrics for each candidate, the champion first."""
    other = {"accuracy": 0.9, "examples": 2987.0, "log_loss": 0.5, "auc": 0.6}
    now = sample(
        102.0, {}, candidate="logistic", version=17, staleness_s=2.5, freshness_median_s=0.081,
        prequential={"a-tree": other, "logistic": {"examples": 2987.0, "log_loss": 0.4567, "auc": 0.7123}},
    )  # fmt: skip
    text = told(shown(now, BEFORE, {}))
    assert "Champion logistic version 17, newest label 2.5 s old, label to prediction 81 ms" in text
    assert "logistic 0.712 0.457 2,987 –\na-tree 0.600 0.500 2,987 0.900" in re.sub(r" +\n", "\n", text)  # noqa: RUF001 - as above
    assert "Incidents none open" in text


def test_batches_of_all_lanes_and_processes_are_added_up() -> None:
    """The histograms of a stage's lanes, by the name that services give them, become one sum and one count."""
    name = COMMIT_SECONDS._name
    lines = f"# TYPE {name} histogram\n" + "".join(
        f'{name}_{part}{{stage="score",lane="{lane}"}} {value}\n'
        for lane in (0, 1) for part, value in (("sum", 0.5), ("count", 3.0))
    )  # fmt: skip
    found = sample(1.0, {})
    for process in ("scoring-0", "scoring-1"):
        _read(found, process, lines, {})
    assert found.timed == {"score": {("commit", "sum"): 2.0, ("commit", "count"): 12.0}}


def test_without_services_it_says_how_to_name_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing runs and nothing is named, one line tells the option."""
    with pytest.raises(SystemExit) as ended:
        main(["top", "--data-dir", str(tmp_path)])
    assert ended.value.code == 2
    assert "--url" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "url"), [("top", "http://127.0.0.1:99999"), ("doctor", "http://[")])
def test_what_is_no_url_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, url: str) -> None:
    """It is no service that is away: one line says what was expected."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--url", url, "--data-dir", str(tmp_path)])
    assert ended.value.code == 2
    assert f"--url is '{url}': expected http://host:port" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("page", [
    "<!doctype html><html><body>Sign in</body></html>", "rivermill_lane_records 3\n", "rivermill_lag_records{} 1\n",
    'rivermill_lag_records{stage="score"} NaN\n', 'rivermill_served_version{candidate="a"} +Inf\n', "{\n",
    'rivermill_freshness_seconds_bucket{le="soon"} 1\n',
])  # fmt: skip
def test_a_page_that_is_no_metrics_of_ours_leaves_the_others(page: str) -> None:
    """Who answers with it is shown as away, nothing of it is taken, and the next one is read."""
    good = 'rivermill_lane_records{stage="score",what="predictions"} 7\n'

    async def answered() -> Sample:
        with pages_at(good + page, good) as (strange, well):
            scraper = Scraper({"strange": strange, "well": well})
            try:
                return await scraper.sample()
            finally:
                await scraper.close()

    found = asyncio.run(answered())
    assert (found.missing, list(found.processes)) == (["strange"], ["well"])
    assert found.totals["score"] == {"predictions": 7}


@pytest.mark.parametrize("key", [b"q", CTRL_C], ids=["q", "ctrl-c"])
def test_on_a_terminal_it_shows_who_answers_and_ends_by_a_key(tmp_path: Path, key: bytes) -> None:
    """A process that answers is shown with its CPU and memory, one that does not as away; the terminal is left as it was."""
    with serving(tmp_path) as client:
        answering, nowhere = str(client.base_url).rstrip("/"), f"http://127.0.0.1:{free_port()}"
        arguments = ["--url", answering, "--url", nowhere, "--data-dir", str(tmp_path)]
        lines, code, restored = watched(arguments, "away", key)
    text = "\n".join(lines)
    assert re.search(rf"{answering[7:]} +\d+ +[1-9]\d* +answers", text), text
    assert re.search(rf"{nowhere[7:]} +away", text), text
    assert "Incidents not known: name the pipeline file" in text
    assert len(lines) <= 24
    assert (code, restored) == (0, True)


def test_without_a_terminal_it_prints_a_line_each_look(tmp_path: Path) -> None:
    """In a pipe there is one plain line a look, until the process is told to end."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "services.cli", "top", "--every", "0.1", "--url", nowhere]
    with subprocess.Popen([*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.terminate()
        assert process.wait(timeout=10) == 0
    assert all(f"away: {nowhere[7:]}" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
