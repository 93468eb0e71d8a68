"""``rivermill produce``: records from CSV, JSON lines or standard input into a topic."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from services.cli.topic_batches import Keyed, ProduceError, TopicBatches, started
from services.domain.spec import Spec

Format = Literal["csv", "jsonl"]
_BLOCK_RECORDS = 1000
_BLOCK_BYTES = 256 * 1024
_LINE_MAX = 16 * 1024 * 1024
"""Beyond any record that Kafka takes: a file without line breaks is not read into memory whole."""
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z", re.ASCII)
_NUMBER_CHARACTERS = 400
_INT64 = 2**63
_BOM = b"\xef\xbb\xbf"
_LITERALS = {"": None, "true": True, "false": False}


async def produce(
    source: str | Path,
    topic: str,
    kafka: dict[str, Any],
    *,
    file_format: Format | None = None,
    key_field: str | None = None,
    texts: Collection[str] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Send the records of a file, or of standard input (``-``), to ``topic``; returns how many the broker has.

    ``file_format`` follows from the file's ending if not given (standard input: jsonl). A line of JSON is sent byte for
    byte; a row of CSV becomes an object, with numbers, ``true`` and ``false`` typed, but in the columns ``texts``, and
    empty cells null. The key is the text of ``key_field``, if named. ProduceError tells the line that cannot be used,
    and how many were sent.
    """
    chosen = file_format or _format_of(str(source))
    count = 0
    made = await started(kafka)
    try:
        batches = TopicBatches(made, topic)
        await batches.open()
        with _opened(source) as binary:
            blocks = _blocks(binary, chosen, key_field, texts)
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                await batches.send(block)
                count += len(block)
                progress(count)
        await batches.drain()
    except ProduceError as error:
        raise ProduceError(f"{source}: {error} (records sent before: {count})") from error
    finally:
        await made.stop()
    return count


def texts_of(spec: Spec, kind: Literal["event", "label"]) -> frozenset[str]:
    """The columns that stay as they are written, whatever they look like: the id, and an event's categories."""
    if kind == "label":
        return frozenset({spec.label.id})
    categories = {name: feature for name, feature in spec.features.items() if feature.type == "category"}
    return frozenset({spec.event.id, *categories}.union(*(feature.aliases for feature in categories.values())))


def records(
    source: str | Path, file_format: Format | None = None, texts: Collection[str] = ()
) -> Generator[list[Keyed], None, None]:
    """The records of a file in blocks, as :func:`produce` would send them, without keys; ProduceError if it cannot."""
    chosen = file_format or _format_of(str(source))
    try:
        with _opened(source) as binary:
            yield from _blocks(binary, chosen, None, texts)
    except ProduceError as error:
        raise ProduceError(f"{source}: {error}") from error


def _blocks(
    source: io.FileIO, file_format: Format, key_field: str | None, texts: Collection[str]
) -> Iterator[list[Keyed]]:
    return _csv_blocks(source, key_field, texts) if file_format == "csv" else _json_blocks(source, key_field)


def _format_of(name: str) -> Format:
    return "csv" if name.lower().endswith(".csv") else "jsonl"


def _opened(source: str | Path) -> io.FileIO:
    if str(source) == "-":
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    try:
        return io.FileIO(source)
    except OSError as error:
        raise ProduceError(f"cannot be read ({error.strerror})") from error


def _json_blocks(source: io.FileIO, key_field: str | None) -> Iterator[list[Keyed]]:
    """Blocks of lines as they come: a live standard input is sent on at once."""
    rest = b""
    numbers = itertools.count(1)
    while chunk := source.read(_BLOCK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_MAX:
            raise ProduceError(f"a line is longer than {_LINE_MAX} bytes: JSON lines have one object on each")
        if block := _keyed_lines(lines, numbers, key_field):
            yield block
    if block := _keyed_lines([rest], numbers, key_field):
        yield block


def _keyed_lines(lines: list[bytes], numbers: Iterator[int], key_field: str | None) -> list[Keyed]:
    return [
        (_line_key(line, number, key_field), line)
        for line, number in (
            (line.removeprefix(_BOM if number == 1 else b"").strip(), number)
            for line, number in zip(lines, numbers, strict=False)
        )
        if line
    ]


def _line_key(line: bytes, number: int, key_field: str | None) -> bytes | None:
    if key_field is None:
        return None
    try:
        fields = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        raise ProduceError(f"line {number} is not JSON ({error}), so it has no {key_field!r} to be its key") from error
    if not isinstance(fields, dict):
        raise ProduceError(f"line {number} is no JSON object, so it has no {key_field!r} to be its key")
    return _key(fields, key_field, f"line {number}")


def _csv_blocks(source: io.FileIO, key_field: str | None, texts: Collection[str]) -> Iterator[list[Keyed]]:
    text = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8-sig", newline="")
    rows = csv.DictReader(_csv_lines(text), strict=True)
    try:
        names = rows.fieldnames or []
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ProduceError(f"the first line names {repeated[0]!r} more than once: name each column differently")
        while block := [
            _csv_record(row, rows.line_num, key_field, texts) for row in itertools.islice(rows, _BLOCK_RECORDS)
        ]:
            yield block
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProduceError(f"line {rows.line_num + 1} is not CSV in UTF-8 ({error})") from error


def _csv_lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LINE_MAX):
        if len(line) == _LINE_MAX:
            raise ProduceError(f"a line is longer than {_LINE_MAX} characters: CSV has one record on each")
        yield line


def _csv_record(row: dict[str | Any, str | Any], number: int, key_field: str | None, texts: Collection[str]) -> Keyed:
    if None in row or None in row.values():
        raise ProduceError(f"line {number} does not have as many cells as the first line has names")
    key = None if key_field is None else _key(row, key_field, f"line {number}")
    return key, msgspec.json.encode(
        {name: (cell or None) if name in texts else _typed(cell) for name, cell in row.items()}
    )


def _typed(cell: str) -> Any:
    if cell in _LITERALS:
        return _LITERALS[cell]
    if len(cell) > _NUMBER_CHARACTERS or not _NUMBER.match(cell):
        return cell
    number = json.loads(cell)
    written = math.isfinite(number) if isinstance(number, float) else -_INT64 <= number < _INT64
    return number if written else cell


def _key(fields: dict[str, Any], name: str, where: str) -> bytes:
    value = fields.get(name)
    if value is None or value == "" or isinstance(value, dict | list):
        raise ProduceError(f"{where} has no {name!r} to be its key: name another field, or none")
    return (value if isinstance(value, str) else msgspec.json.encode(value).decode()).encode()
