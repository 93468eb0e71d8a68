"""Orders of a shop that does not exist, and days later whether each came back: ``order`` and ``label`` are JSON objects."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
_BETWEEN, _DECIDED_AFTER = timedelta(minutes=20), timedelta(days=10)
_RETURNS = {"DE": 0.3, "FR": -0.8, "IT": -1.4}
"""The log odds of a return, by country."""
_BY_AMOUNT, _GIFT = 0.9, -1.0
_GIFTS = 0.2


class Made(NamedTuple):
    """An order, and the label that comes for it."""

    order: dict[str, Any]
    label: dict[str, Any]


def made(count: int, seed: int = 7) -> Iterator[Made]:
    """The first orders since 1 March 2026; the same seed makes the same ones.

    One in three is returned: dear ones and those from Germany more often, gifts less. Countries are spelled as people do.
    """
    rng = random.Random(seed)  # noqa: S311 - made-up data, no secret
    placed = FIRST
    for number in range(1001, 1001 + count):
        placed += rng.uniform(0, 2) * _BETWEEN
        amount, country, gift = 50 * math.exp(rng.gauss(0, 1)), rng.choice([*_RETURNS]), rng.random() < _GIFTS
        odds = math.exp(_RETURNS[country] + _BY_AMOUNT * math.log(amount / 50) + _GIFT * gift)
        name = f"A-{number}"
        order = {
            "order_id": name, "placed_at": _text(placed), "amount": round(amount, 2),
            "country": rng.choice([country, country, country.lower()]), "gift": "yes" if gift else "no",
        }  # fmt: skip
        decided = placed + rng.uniform(0.1, 1.9) * _DECIDED_AFTER
        yield Made(
            order, {"order_id": name, "decided_at": _text(decided), "returned": rng.random() < odds / (1 + odds)}
        )


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
