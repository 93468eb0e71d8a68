"""The made-up orders of docs/own-topics.md."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta

import pytest

from examples.orders.__main__ import COUNT, main
from examples.orders.made import made


def test_the_files_hold_the_same_orders(tmp_path, monkeypatch):
    """Events and labels lie in one row of the table as they do in the two files, and come out the same every time."""
    monkeypatch.chdir(tmp_path)
    main()
    orders, returns = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("orders.jsonl", "returns.jsonl")
    )
    assert [(it.order, it.label) for it in made(COUNT)] == list(zip(orders, returns, strict=True))
    with (tmp_path / "orders.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {**order, **label, "amount": str(order["amount"]), "returned": json.dumps(label["returned"])}
        for order, label in zip(orders, returns, strict=True)
    ]


def test_every_label_comes_in_time_and_one_in_three_is_a_return():
    """Each comes after its order and within twenty days, which the page's horizon of thirty covers."""
    shop = list(made(COUNT))
    took = [
        datetime.fromisoformat(it.label["decided_at"]) - datetime.fromisoformat(it.order["placed_at"]) for it in shop
    ]
    assert timedelta() < min(took) < max(took) < timedelta(days=20)
    assert sum(it.label["returned"] for it in shop) / COUNT == pytest.approx(1 / 3, abs=0.04)
