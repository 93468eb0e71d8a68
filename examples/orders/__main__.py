"""Writes a thousand orders into the current directory: ``python -m examples.orders``.

``orders.jsonl`` and ``returns.jsonl`` are events and labels, a JSON object a line; ``orders.csv`` has both in one row.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from examples.orders.made import made

COUNT = 1000


def main() -> None:
    """Write the three files, in place of those that are there."""
    shop = list(made(COUNT))
    for name, rows in {"orders.jsonl": [it.order for it in shop], "returns.jsonl": [it.label for it in shop]}.items():
        Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with Path("orders.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*shop[0].order, "decided_at", "returned"])
        table.writeheader()
        table.writerows({**it.order, **it.label, "returned": str(it.label["returned"]).lower()} for it in shop)
    print(f"{COUNT:,} orders: orders.jsonl and returns.jsonl, and both in orders.csv")


if __name__ == "__main__":
    main()
