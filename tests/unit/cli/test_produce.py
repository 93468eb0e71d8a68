"""What a file's rows and lines become as records, before any broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.cli.produce import records, texts_of
from services.domain.spec import parse
from tests.unit.domain.spec_texts import BINARY

BOM = b"\xef\xbb\xbf"


def read(path: Path, texts: frozenset[str] = frozenset()) -> list[Any]:
    return [json.loads(value) for block in records(path, texts=texts) for _, value in block]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("7", 7), ("-0.5", -0.5), ("1e10", 1e10), ("true", True), ("", None), ("00501", "00501"), ("x", "x"),
        (str(2**63 - 1), 2**63 - 1), (str(2**63), str(2**63)), (str(-(2**63)), -(2**63)), ("9" * 5000, "9" * 5000),
        ("1e999", "1e999"), ("-1e999", "-1e999"), ("12e45671", "12e45671"), ("0." + "1" * 5000, "0." + "1" * 5000),
    ],
)  # fmt: skip
def test_a_cell_is_a_number_if_json_can_hold_it_and_else_stays_text(tmp_path: Path, cell: str, value: Any) -> None:
    path = tmp_path / "events.csv"
    path.write_text(f"a,b\n{cell},1\n")
    [row] = read(path)
    assert row == {"a": value, "b": 1}
    assert type(row["a"]) is type(value)


@pytest.mark.parametrize("cell", ["7", "1e10", "1.10", "12e45671", "0012", "true", "1e999"])
def test_ids_and_categories_stay_as_they_are_written(tmp_path: Path, cell: str) -> None:
    """The events' id and categories, also by another name, and the labels' id; but an empty cell has no value."""
    spec = parse(BINARY.replace("synonyms =", 'aliases = ["airline"]\nsynonyms ='))
    path = tmp_path / "rows.csv"
    path.write_text(f"flight_id,carrier,airline,distance\n{cell},{cell},{cell},7\n,,,\n")
    assert read(path, texts_of(spec, "event")) == [
        {"flight_id": cell, "carrier": cell, "airline": cell, "distance": 7},
        dict.fromkeys(("flight_id", "carrier", "airline", "distance")),
    ]
    path.write_text(f"flight_id,late\n{cell},true\n")
    assert read(path, texts_of(spec, "label")) == [{"flight_id": cell, "late": True}]


@pytest.mark.parametrize("name", ["events.jsonl", "events.csv"])
def test_a_byte_order_mark_before_a_file_is_no_part_of_its_records(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BOM + (b'{"id":"a"}\n{"id":"b"}\n' if name.endswith("jsonl") else b"id\na\nb\n"))
    assert [value for block in records(path) for _, value in block] == [b'{"id":"a"}', b'{"id":"b"}']
