"""docs/own-topics.md from its top: what a user copies and pastes, with the embedded broker, up to predictions and learning."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from statistics import mean

import pytest

from services.cli import target
from services.cli.account import Account
from services.cli.settle import take_account, wait_settled
from tests.pages import DOCS, blocks
from tests.terminals import Terminal, checkout

PAGE = "own-topics.md"
ORDERS = 1000
BY_ITSELF = ("signing.key", "services.registry")
"""Blocks that start each service by itself, in place of `rivermill up`: tests/integration/test_operating.py runs them."""
SHOWN = {
    "make venv": "orders.jsonl and returns.jsonl",
    "rivermill init": r"^first.toml: a binary task[^$]*^second.toml: a binary task",
    "rivermill check": "^orders: a binary task",
    "rivermill backtest": "^The account balances",
    "rivermill up": r"orders runs\. Send events to orders\.events\.raw",
    "rivermill produce": r"1,000 events sent to orders\.events\.raw\n1,000 labels sent to orders\.labels\.raw",
    "rivermill tail predictions": '"event_id"',
    "rivermill tail alerts": r"\A\s*\Z",
}
"""What the block that begins so has to print, in the order of the page."""


def words(block: str) -> str:
    """The key of ``SHOWN`` that a block begins with."""
    return next(begin for begin in SHOWN if block.startswith(begin))


async def worked_off(folder: Path) -> Account:
    """Wait until all that was sent is predicted and learned."""
    deployment = target.deployment(folder / "orders.toml", None, folder / ".data", {})
    assert await wait_settled(deployment, 60)
    return await take_account(deployment)


@pytest.mark.timeout(300)
def test_the_page_leads_to_predictions(tmp_path: Path) -> None:
    """Every block runs as it stands: files are made, checked and tried on the past, and once all is sent, each order has
    one prediction of the shape that the page shows, each label is learned, and nothing has drifted.
    """
    folder = checkout(tmp_path / "checkout")
    (text,) = (block for _, block in blocks(PAGE, kinds=["toml"]))
    told: dict[str, str] = {}
    with Terminal(folder, tmp_path / "up") as first, Terminal(folder, tmp_path / "other") as second:
        for block in (block for _, block in blocks(PAGE) if not any(each in block for each in BY_ITSELF)):
            name = words(block)
            if name == "rivermill up":
                first.run(". .venv/bin/activate")
                first.start(block)
                told[name] = first.wait_for(SHOWN[name], 120)
                continue
            if name == "rivermill check":
                (folder / "orders.toml").write_text(text, encoding="utf-8")
            told[name] = second.run(block)
            if name == "rivermill produce":
                drawn = asyncio.run(worked_off(folder))
        first.interrupt()
        code, ended = first.finish()
    assert list(told) == list(SHOWN)
    for name, pattern in SHOWN.items():
        assert re.search(pattern, told[name], re.MULTILINE), told[name]
    assert drawn.balanced, drawn
    assert drawn.totals["score"]["predictions"] == drawn.totals["join"]["labelled"] == ORDERS
    assert drawn.totals["train"]["examples"] == ORDERS
    assert_read(told["rivermill tail predictions"])
    assert_learned(told["rivermill backtest"])
    assert (code, "stopped" in ended) == (0, True)


def assert_read(told: str) -> None:
    """Five predictions, with the fields that the page describes."""
    predictions = [json.loads(line)["value"] for line in told.splitlines() if line]
    table = (DOCS / PAGE).read_text(encoding="utf-8").partition("## 5.")[2].partition("## 6.")[0]
    described = {
        name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert len(predictions) == 5
    assert {"event_id", "score"} <= described
    assert all(each.keys() == described for each in predictions), (described, predictions[0].keys())


def assert_learned(told: str) -> None:
    """The AUC of the last days is about what the page says, and of the first ones no better than chance."""
    days = [float(auc) for auc in re.findall(r"^\w{3} 2026-03-\d\d .* % +(0\.\d{4}) ", told, re.MULTILINE)]
    assert mean(days[-5:]) == pytest.approx(0.8, abs=0.1)
    assert mean(days[:3]) < 0.6
