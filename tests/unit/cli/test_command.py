from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from cyclopts import App, validators
from hypothesis import given
from hypothesis import strategies as st

from schemas.alerts import Alert, Position, Suspect
from services.cli.__main__ import _COMMANDS, application, main
from services.cli.demo_end import DRIFT_FROM, DRIFT_TO, drift_told
from services.cli.scrape import quantile

FLIGHTS = "examples/flights/pipeline.toml"


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_help_names_every_command_with_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    """`rivermill --help` lists all commands in groups, each with a sentence."""
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    for name in (
        "init",
        "demo",
        "backtest",
        "up",
        "status",
        "doctor",
        "top",
        "tail",
        "topics",
        "reset",
        "models",
        "deadletter",
        "broker",
        "produce",
        "check",
        "tokens",
    ):
        assert f"│ {name} " in shown
    for words in ("Run", "Look", "Change", "Ctrl-C"):
        assert words in shown


@pytest.mark.parametrize("name", [
    "init", "demo", "backtest", "up", "status", "doctor", "top", "tail", "topics", "reset", "produce", "check", "models pin", "models rollback", "models show",
    "deadletter list", "deadletter show", "broker start",
])  # fmt: skip
def test_every_command_shows_how_it_is_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of each command has an example that can be typed."""
    assert exit_code(*name.split(), "--help") == 0
    assert f"rivermill {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("arguments", "words"), [
    (("up", "missing.toml"), "missing.toml cannot be read"),
    (("topics", FLIGHTS, "--create", "--broker", "127.0.0.1:1"), "broker at 127.0.0.1:1 cannot be used"),
    (("topics", FLIGHTS, "--broker", "nonsense"), 'Invalid value "nonsense" for --broker. Expected host:port'),
    (("up", FLIGHTS, "--broker", "k"), 'Invalid value "k" for --broker. Expected host:port'),
    (("tail", "nonsense", FLIGHTS), "expected one of events.raw"),
    (("deadletter", "show", "x", FLIGHTS), "expected PARTITION/OFFSET"),
    (("demo", "--speed", "fast"), "expected a number such as 600x"),
    (("status",), "name a pipeline file"),
    (("check",), 'parameter PIPELINE requires an argument. Try `rivermill check --help`'),
    (("models", "show"), "parameter VERSION requires an argument"),
    (("nonsense",), 'Unknown command "nonsense"'),
    (("tail", "predictions", FLIGHTS, "--last", "-5"), 'Invalid value "-5" for --last. Must be >= 0'),
    (("tail", "predictions", FLIGHTS, "--last", str(10**20)), "for --last. Must be <= 100000"),
    (("demo", "--flights", "0"), 'Invalid value "0" for --flights. Must be >= 1'),
    (("demo", "--days", "366"), "for --days. Must be <= 365"),
    (("demo", "--dirt", "nan"), "for --dirt. Must be <= 1"),
    (("backtest", FLIGHTS, "--example", "flights", "--partitions", "0"), "for --partitions. Must be >= 1"),
    (("backtest", FLIGHTS, "--example", "flights", "--days", "-3"), "for --days. Must be >= 1"),
    (("backtest", FLIGHTS, "--example", "flights", "--dirt", "5"), "for --dirt. Must be <= 1"),
    (("backtest", FLIGHTS, "--example", "flights", "--report", "/nowhere/x.html"), "There is no directory /nowhere"),
    (("demo", "--json", "/"), 'Invalid value "/" for --json. It cannot be written'),
    (("models", "promote", "4", "", FLIGHTS), "Say why in one line"),
    (("models", "pin", "4", "a\x1b[2J", FLIGHTS), "Say why in one line"),
    (("models", "show", "0", FLIGHTS), "for VERSION. Must be >= 1"),
    (("models", "list", FLIGHTS, "--limit", "0"), "for --limit. Must be >= 1"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """What a user can put right is told in one line on standard error, without a traceback."""
    monkeypatch.setenv("RIVERMILL_DATA_DIR", str(tmp_path))
    assert exit_code(*arguments) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    assert told.err.strip().count("\n") == 0


def commands(app: App) -> Iterator[App]:
    for name in app:
        if not name.startswith("-"):
            yield app[name]
            yield from commands(app[name])


def test_every_number_has_bounds() -> None:
    """No option of any command takes a number without saying which ones make sense."""
    numbers = [
        (command.name, argument.name, argument.parameter.validator)
        for command in commands(application())
        if command.default_command is not None
        for argument in command.assemble_argument_collection()
        if {int, float} & {argument.hint, *get_args(argument.hint)}
    ]
    assert len(numbers) > 10
    for command, name, checks in numbers:
        assert any(isinstance(each, validators.Number) for each in checks or ()), f"{command} {name}"


def test_help_imports_no_command() -> None:
    """`rivermill --help` imports nothing of what any command uses, so that it answers at once."""
    program = "import sys; from services.cli.__main__ import main\ntry: main(['--help'])\n"
    program += "finally: print(*sorted(it for it in sys.modules if it.startswith('services') or it in {'asyncio', 'structlog'}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "services services.cli services.cli.__main__"


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    """What `rivermill --help` has of a command is the first paragraph of the command's own help."""
    itself = application()
    assert {name: purpose for name, _, _, purpose in _COMMANDS} == {
        name: itself[name].help.partition("\n\n")[0] for name, *_ in _COMMANDS
    }


@pytest.mark.parametrize("name", ["demo", "up"])
def test_a_supervisor_imports_no_service(name: str) -> None:
    """What starts the services imports neither Faust nor what Faust does: each service is a process of its own."""
    program = f"import sys; from services.cli.__main__ import application; application()['{name}']\n"
    program += "sys.exit(bool({'faust', 'mode', 'aiohttp'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_its_bucket(counts: list[int], share: float) -> None:
    """The quantile read from a histogram lies between the bounds of the bucket that holds its rank."""
    bounds = [*(float(number + 1) for number in range(len(counts) - 1)), float("inf")]
    cumulative = [sum(counts[: number + 1]) for number in range(len(counts))]
    found = quantile(dict(zip(bounds, map(float, cumulative), strict=True)), share)
    if not cumulative[-1]:
        assert found is None
        return
    place = next(number for number, count in enumerate(cumulative) if count >= share * cumulative[-1])
    least = bounds[place - 1] if place else 0.0
    assert found is not None
    assert least <= found <= (least if bounds[place] == float("inf") else bounds[place])


def alert(days: float, state: str, first: str, resolution: str | None = None, incident: str = "a") -> Alert:
    return Alert(
        "x", incident, state, resolution, "drift", "warning", "distance", "it moved", {},  # type: ignore[arg-type]
        [Suspect(first, 1.0, 1.0, 2.0)], None, DRIFT_FROM + timedelta(days=days), Position("t", 0, 0),
    )  # fmt: skip


def test_the_drift_counts_as_told_only_in_time_and_with_distance_first() -> None:
    """The kilometres are told when an incident within two days names distance first; recovered, when that one resolves so."""
    end = DRIFT_TO + timedelta(days=3)
    opened = alert(0.5, "opened", "distance")
    assert drift_told([opened], end) == (True, False)
    assert drift_told([opened, alert(9, "resolved", "distance", "recovered")], end) == (True, True)
    assert drift_told([opened, alert(9, "resolved", "distance", "recovered", "b")], end) == (True, False)
    assert drift_told([alert(0.5, "opened", "temp")], end) == (False, False)
    assert drift_told([alert(2.5, "opened", "distance")], end) == (False, False)
    assert drift_told([], DRIFT_FROM) == (None, None)
