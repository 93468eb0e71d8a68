"""The lines of a TOML file with comments, and the numbers that go into them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from services.domain.records import NUMBER_MAX

_COMMENT_AT = 34


def quoted(text: str) -> str:
    """A TOML basic string, which is JSON's but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def line(text: str, comment: str = "") -> str:
    """A line, and its comment where comments stand."""
    return f"{text:<{_COMMENT_AT}} # {comment}" if comment else text


def quantiles(ordered: Sequence[float]) -> tuple[float, float, float]:
    """What 1 %, half and 99 % of sorted numbers do not exceed."""
    last = len(ordered) - 1
    return ordered[last // 100], ordered[last // 2], ordered[last - last // 100]


def sayable(value: float) -> bool:
    """Whether a pipeline file may hold the number."""
    return value == 0 or 1 / NUMBER_MAX <= abs(value) <= NUMBER_MAX
