"""The head of a file, for `rivermill init`: so many records and bytes at most, decoded as far as that goes."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from services.cli.produce import records

MAX_BYTES = 64 * 1024 * 1024


class Sample(msgspec.Struct, frozen=True):
    """Records of a file, in its order; ``unreadable`` ones are no JSON objects, and left out of ``rows``.

    ``columns`` are all names that came, in the order in which they came first.
    """

    rows: list[dict[str, Any]]
    columns: list[str]
    unreadable: int
    whole: bool


def read_sample(source: Path, most: int, texts: Collection[str] = ()) -> Sample:
    """The first ``most`` records of JSON lines or CSV, 64 MiB at most, ``texts`` as they are written.

    ProduceError when the file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    columns: dict[str, None] = {}
    unreadable = size = 0
    with closing(records(source, texts=texts)) as blocks:
        for _, value in (each for block in blocks for each in block):
            if len(rows) + unreadable >= most or size >= MAX_BYTES:
                return Sample(rows, list(columns), unreadable, whole=False)
            size += len(value)
            row = _object(value)
            if row is None:
                unreadable += 1
            else:
                rows.append(row)
                columns.update(dict.fromkeys(row))
    return Sample(rows, list(columns), unreadable, whole=True)


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        row = _lenient(value)
    return row if isinstance(row, dict) else None


def _lenient(value: bytes) -> Any:
    """NaN and infinities are no JSON, but cleaning reads them; it also reads half a surrogate pair, which this does not."""
    try:
        row = json.loads(value)
        msgspec.json.encode(row)
    except (ValueError, RecursionError):
        return None
    return row
