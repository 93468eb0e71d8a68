"""`rivermill init`: a first pipeline file from a sample, which is valid, runs and learns."""

from __future__ import annotations

import csv
import json
import random
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.flights.data import flights
from examples.flights.dirt import soil
from examples.flights.export import export_csv
from services.cli import backtest_input, init_sample
from services.cli.__main__ import main
from services.cli.backtest_run import Result, run
from services.cli.init_columns import Column, Dropped, judged
from services.cli.init_command import init
from services.cli.init_sample import read_sample
from services.cli.produce import ProduceError
from services.domain.spec import Spec, parse
from services.runtime.launch import load
from services.runtime.settings import SettingsError

START = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = {"id": "order id", "time": "placed_at", "label": "returned", "label_time": "decided_at"}


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def orders(count: int) -> list[dict[str, Any]]:
    """A shop's orders in one table, with their labels and the columns that tables have besides."""
    draw = random.Random(7)  # noqa: S311 - reproducible
    at, rows = START, []
    for number in range(count):
        at += timedelta(minutes=draw.randint(1, 60))
        country, gift = draw.choice(["de", "DE", "fr", "us"]), draw.choice(["yes", "Y", "no", "N"])
        returned = draw.random() < 0.1 + 0.5 * (country == "fr") + 0.3 * (gift in ("yes", "Y"))
        rows.append({
            "order id": f"A-{number}", "placed_at": at.isoformat(), "amount": round(draw.lognormvariate(3, 1), 2),
            "country": country, "gift": gift, "items+1": draw.randint(1, 9), "note": f"text {draw.random()}",
            "shop": "web", "row_id": 1000 + number, "": number, "printed_at": (at + timedelta(hours=1)).isoformat(),
            "refund": 4.5 if returned else 0.5, "returned": "yes" if returned else "no",
            "decided_at": (at + timedelta(hours=draw.uniform(1, 60))).isoformat(),
        })  # fmt: skip
    return rows


def backtested(pipeline: Path, events: Path, labels: Path) -> Result:
    spec = load(pipeline)
    found, _ = backtest_input.from_files(spec, events, labels)
    return run(spec, found)


def written(folder: Path, events: Path, **how: Any) -> Spec:
    init(events, output=folder / "made.toml", **how)
    return load(folder / "made.toml")


def test_flights_in_csv_make_a_pipeline_that_learns(tmp_path: Path) -> None:
    """Of two files of flights comes a pipeline whose backtest orders late flights well above chance."""
    export_csv(soil(flights(8), share=0.0), tmp_path)
    events, labels = tmp_path / "events.csv", tmp_path / "labels.csv"
    spec = written(
        tmp_path,
        events,
        labels=labels,
        id="flight_id",
        time="scheduled_departure",
        label="late",
        label_time="arrived_at",
    )
    assert spec.features["carrier"].type == "category"
    assert spec.features["distance"].type == "number"
    assert spec.features["holiday"].type == "boolean"
    assert spec.label.horizon == "24h"
    assert "year" not in spec.features
    result = backtested(tmp_path / "made.toml", events, labels)
    assert result.balanced
    assert not result.dead_letters
    assert result.total[0].measures["auc"] > 0.6


def test_one_table_of_orders_makes_a_pipeline_that_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spellings, case, odd names, ids, texts, constants and times of a table each become what cleaning makes of them."""
    table = write_csv(
        tmp_path / "orders.csv", [{n: v for n, v in row.items() if n != "refund"} for row in orders(3000)]
    )
    spec = written(tmp_path, table, **ORDER)
    assert {name: feature.type for name, feature in spec.features.items()} == {
        "amount": "number", "country": "category", "gift": "boolean", "items_1": "number", "hour": "category",
        "weekday": "category",
    }  # fmt: skip
    assert spec.features["country"].case == "upper"
    assert spec.features["items_1"].aliases == ("items+1",)
    assert spec.features["amount"].outside == "clip"
    assert spec.label.horizon == "7d"
    text = (tmp_path / "made.toml").read_text(encoding="utf-8")
    for name in ("note", "shop", "row_id", "printed_at", ""):
        assert f'# "{name}" ' in text
    result = backtested(tmp_path / "made.toml", table, table)
    assert result.balanced
    assert result.total[0].measures["auc"] > 0.7
    assert "rivermill backtest" in capsys.readouterr().out


def test_machines_in_json_lines_make_a_regression_that_learns(tmp_path: Path) -> None:
    """Numbers as labels make a regression, milliseconds are known as such, and NaN stands for what is missing."""
    draw = random.Random(3)  # noqa: S311 - reproducible
    events, labels = tmp_path / "machines.jsonl", tmp_path / "wear.jsonl"
    at, event_lines, label_lines, spread = START, [], [], []
    for number in range(3000):
        at += timedelta(seconds=draw.randint(10, 600))
        heat, kind = draw.gauss(60, 10), draw.choice("abc")
        wear = 5 + 0.3 * (heat - 60) + 4 * (kind == "b") + draw.gauss(0, 0.5)
        spread.append(wear)
        ms = int(at.timestamp() * 1000)
        sent = heat if draw.random() > 0.05 else float("nan")
        event_lines.append(json.dumps({"machine": number, "at": ms, "heat": sent, "kind": kind, "tags": ["x"]}))
        label_lines.append(json.dumps({"machine": number, "at": ms + 3_600_000, "wear": wear}))
    events.write_text("\n".join([*event_lines, "{"]), encoding="utf-8")
    labels.write_text("\n".join(label_lines), encoding="utf-8")
    spec = written(tmp_path, events, labels=labels, id="machine", time="at", label="wear")
    assert spec.pipeline.task == "regression"
    assert spec.event.time_format == "epoch_ms"
    assert spec.label.horizon == "6h"
    assert spec.features["heat"].missing == "median"
    assert "tags" not in spec.features
    total = backtested(tmp_path / "made.toml", events, labels).total[0].measures
    mean = sum(spread) / len(spread)
    assert total["mae"] < 0.5 * sum(abs(wear - mean) for wear in spread) / len(spread)


def test_a_column_that_knows_the_label_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column that was filled in with the label is told, in the file and on the screen; others are not."""
    table = write_csv(tmp_path / "orders.csv", orders(400))
    written(tmp_path, table, **ORDER)
    assert capsys.readouterr().out.count("it alone tells the label") == 1
    before, _, _ = (tmp_path / "made.toml").read_text(encoding="utf-8").partition("[features.refund]")
    assert before.rstrip().endswith("If not, take it out.")


def test_labels_that_only_say_true_make_the_others_false(tmp_path: Path) -> None:
    """Where labels are only ever true, what has none by its horizon counts as false."""
    rows = [row | {"returned": "yes" if row["returned"] == "yes" else ""} for row in orders(200)]
    assert written(tmp_path, write_csv(tmp_path / "orders.csv", rows), **ORDER).label.on_expiry is False


def test_a_file_is_overwritten_by_force_alone(tmp_path: Path) -> None:
    """An existing file stays as it is, and is replaced when asked for."""
    table, output = write_csv(tmp_path / "orders.csv", orders(50)), tmp_path / "made.toml"
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"made\.toml exists"):
        init(table, output=output, **ORDER)
    assert output.read_text(encoding="utf-8") == "mine"
    init(table, output=output, force=True, **ORDER)
    assert load(output).pipeline.name == "made"


@pytest.mark.parametrize(("change", "told"), [
    ({"id": "order_id"}, "has no column 'order_id' (--id); did you mean `order id`?"),
    ({"time": "country"}, "has no times that Rivermill reads"),
    ({"label": "country"}, "has no labels of a binary or regression task, but 'de'"),
    ({"label": "amount", "task": "binary"}, "has no labels of a binary task"),
    ({"label_time": "returned"}, "both name the column 'returned'"),
    ({"label": "empty"}, "has no label in the sample"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    """A column that is not what it was named for is told by its name, and nothing is written."""
    rows = [row | {"empty": "", "country": "de"} for row in orders(30)]
    with pytest.raises(SettingsError) as raised:
        written(tmp_path, write_csv(tmp_path / "orders.csv", rows), **(ORDER | change))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "made.toml").exists()


def test_a_large_file_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample ends after so many records, or so many bytes."""
    path = write_csv(tmp_path / "orders.csv", orders(2500))
    sample = init_sample.read_sample(path, 100)
    assert (len(sample.rows), sample.whole) == (100, False)
    monkeypatch.setattr(init_sample, "MAX_BYTES", 10_000)
    sample = init_sample.read_sample(path, 10_000)
    assert 10 < len(sample.rows) < 100
    assert not sample.whole


@pytest.mark.parametrize("header", ["a,b,a", "a,,b,"])
def test_a_csv_that_names_a_column_twice_is_refused(tmp_path: Path, header: str) -> None:
    """One of both would be lost without a word, for `produce` and for `init`."""
    path = tmp_path / "orders.csv"
    path.write_text(f"{header}\n" + ",".join("1" for _ in header.split(",")) + "\n")
    with pytest.raises(ProduceError, match=r"orders\.csv: the first line names '(a|)' more than once"):
        read_sample(path, 10)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_without_line_breaks_is_not_read_into_memory(tmp_path: Path, ending: str) -> None:
    """A line beyond 16 MiB is told, whatever the file is."""
    path = tmp_path / f"long.{ending}"
    path.write_bytes(b"x" * (17 * 1024 * 1024))
    with pytest.raises(ProduceError, match="a line is longer than"):
        init_sample.read_sample(path, 10)


@pytest.mark.parametrize(("raw", "kind"), [
    ([1, 0, 1, None], "boolean"),
    (["yes", "No", "t", "0"], "boolean"),
    ([1, 0, 1, 1, 2] * 10, "number"),
    (["1.5", "2", "NA", "1,234.5"] * 5, "number"),
    (["1.5", "2", "three"], "category"),
    ([True, False, "maybe"], "category"),
    (["a", None, "b"], "category"),
])  # fmt: skip
def test_a_column_has_the_type_that_cleaning_would_read(raw: list[Any], kind: str) -> None:
    """Spellings count as cleaning repairs them; a type that does not fit nearly all of a column is not taken."""
    column = judged("x", raw)
    assert isinstance(column, Column)
    assert column.kind == kind


@pytest.mark.parametrize("raw", [
    [], [None, ""], ["NA", "null"], ["x", "x", None], [5, 5.0], [["a"]], [{"a": 1}], [float("nan")],
    [f"id-{number}" for number in range(50)], list(range(50)), ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"],
])  # fmt: skip
def test_a_column_that_can_tell_nothing_is_left_out(raw: list[Any]) -> None:
    """Nothing, one value, lists, ids and times are no features."""
    assert isinstance(judged("x", raw), Dropped)


def of_columns(folder: Path, columns: dict[str, list[Any]]) -> Spec:
    """The pipeline of a table with these columns besides id, time and label."""
    count = len(next(iter(columns.values())))
    rows = [
        {name: cells[number] for name, cells in columns.items()}
        | {"id": number, "at": (START + timedelta(hours=number)).isoformat(), "label": number % 2 == 0}
        for number in range(count)
    ]
    (folder / "any.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return written(folder, folder / "any.jsonl", id="id", time="at", label="label")


@pytest.mark.parametrize(
    "name", ["\x7f", "\x00", "\n", '"', "\\", "#", "a.b", "é", "a b", "'", "[x]", "a=b", "\u2028", "-"]
)
def test_a_column_of_any_name_is_a_feature(tmp_path: Path, name: str) -> None:
    """Names that are no TOML keys are quoted, those that are no names of features become aliases."""
    spec = of_columns(tmp_path, {name: ["a", "b", name, "a"]})
    [feature] = (each for key, each in spec.features.items() if name in (key, *each.aliases))
    assert feature.type == "category"


@pytest.mark.parametrize(
    "values", [[0.0, 5e-324], [-1e100, 1e100], [1e99, 1e100], [1.0, 1.0 + 2**-52], [-1e-300, 1e-300]]
)
def test_the_range_of_the_smallest_and_the_largest_numbers_is_valid(tmp_path: Path, values: list[float]) -> None:
    """What lies next to each other, or as far apart as numbers may, has a range that holds it, or none."""
    feature = of_columns(tmp_path, {"x": values * 4}).features["x"]
    assert feature.type == "number"
    if feature.range is not None:
        assert feature.range[0] <= min(values) < max(values) <= feature.range[1]


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=12),
    st.sampled_from(["yes", "N", "NA", "", "1,234.5", "2026-01-01T00:00:00Z", "\x7f", "\x00", '"', "#"]),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
COLUMN = st.one_of(
    *(st.lists(values, min_size=8, max_size=8) for values in (
        CELLS, st.booleans(), st.floats(allow_nan=False), st.integers(), st.text(max_size=5), st.sampled_from("aAbB"),
    ))
)  # fmt: skip
NAMES = st.one_of(
    st.text(max_size=10), st.sampled_from(["a+b", "a_b", "hour", "weekday", "x" * 200, "é" * 70, "a.b", ""])
)


@settings(max_examples=150)
@given(
    st.dictionaries(NAMES.filter(lambda name: name not in ("id", "at", "label")), COLUMN, min_size=1, max_size=8),
    st.one_of(st.lists(st.booleans(), min_size=8, max_size=8), COLUMN),
)
def test_whatever_the_table_the_file_is_valid_or_one_line_says_why(
    columns: dict[str, list[Any]], labels: list[Any]
) -> None:
    """Of any columns comes a pipeline file without mistakes, or one line, and then no file."""
    with tempfile.TemporaryDirectory() as folder:
        events, output = Path(folder) / "any.jsonl", Path(folder) / "any.toml"
        rows = [
            {name: cells[number] for name, cells in columns.items()}
            | {"id": number, "at": (START + timedelta(hours=7 * number * number)).isoformat(), "label": labels[number]}
            for number in range(8)
        ]
        events.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        told = ""
        try:
            init(events, output=output, id="id", time="at", label="label")
        except SettingsError as error:
            told = str(error)
        if told:
            assert "\n" not in told
            assert "no valid pipeline file" not in told
            assert not output.exists()
        else:
            parse(output.read_text(encoding="utf-8"))


def test_the_command_ends_well_and_its_file_passes_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options are typed as the help says, and `rivermill check` takes what is written."""
    table, output = write_csv(tmp_path / "orders.csv", orders(50)), tmp_path / "made.toml"
    named = ["--id", "order id", "--time", "placed_at", "--label", "returned", "--label-time", "decided_at"]
    for arguments, code in ((["init", str(table), *named, "--output", str(output)], 0), (["check", str(output)], 0)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == code
    assert "made: a binary task" in capsys.readouterr().out
