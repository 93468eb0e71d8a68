"""The code blocks of the documentation, for tests that run them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, heading: str = "", kinds: Sequence[str] = ("sh", "python")) -> list[tuple[str, str]]:
    """Kind and text of each fenced block of a page, or of what stands under one of its headings."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading:
        _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
        assert found, f"docs/{page} has no heading {heading!r}"
        text = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    found_blocks = [(kind, block) for kind, block in _FENCE.findall(text) if kind in kinds]
    assert found_blocks, f"docs/{page} {heading}: no block to run"
    return found_blocks
