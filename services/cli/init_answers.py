"""What a sample says of a pipeline's times and labels: the format, the task, how long labels are waited for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import msgspec

from services.cleaning.core.labels import label_value
from services.cleaning.core.rules import Rejected, shown
from services.cleaning.core.times import TimeReader
from services.cli.init_columns import is_missing
from services.domain.spec import EventTable, duration
from services.runtime.settings import SettingsError

Task = Literal["binary", "regression"]
TimeFormat = Literal["rfc3339", "epoch_s", "epoch_ms"]
_MOST = 0.95
_GUESSED = "24h"
_HORIZONS = ("1h", "6h", "24h", "3d", "7d", "30d", "90d", "365d")
_MARGIN = 2


class Times(msgspec.Struct, frozen=True):
    """The times of one column, None where there is none; ``local`` when most are written without an offset."""

    time_format: TimeFormat
    found: list[datetime | None]
    local: bool

    @property
    def known(self) -> list[datetime]:
        """Those that can be read."""
        return [time for time in self.found if time is not None]


def times_of(column: str, raw: Sequence[Any], formats: Sequence[TimeFormat] = get_args(TimeFormat)) -> Times:
    """Read a column in the first of the formats that fits most of it; SettingsError when none does."""
    there = [value for value in raw if not is_missing(value)]
    for each in formats:
        reader = TimeReader(EventTable(id="", time="", time_format=each))
        found = [_time(reader, value) for value in raw]
        if there and sum(time is not None for time in found) >= _MOST * len(there):
            return Times(each, found, local=each == "rfc3339" and _local(there))
    example = next((value for value in there if _time(reader, value) is None), None)
    raise SettingsError(
        f"the column {column!r} has no times that Rivermill reads as {' or '.join(formats)}, but {shown(example)}: write "
        "2026-03-01T09:30:00Z (RFC 3339), or seconds or milliseconds since 1970"
    )


def _time(reader: TimeReader, value: Any) -> datetime | None:
    try:
        return reader.read(value, "", [])
    except Rejected:
        return None


def _local(there: Sequence[Any]) -> bool:
    local = 0
    for value in there:
        try:
            local += msgspec.convert(value.strip(), datetime).tzinfo is None
        except (AttributeError, msgspec.MsgspecError, ValueError):
            continue
    return local > len(there) / 2


class Labels(msgspec.Struct, frozen=True):
    """The labels of one column, None where there is none."""

    task: Task
    found: list[bool | float | None]

    @property
    def known(self) -> list[bool | float]:
        """Those that can be read."""
        return [label for label in self.found if label is not None]


def labels_of(column: str, raw: Sequence[Any], task: Task | None) -> Labels:
    """Read a column as labels of the task, or of the one that fits them; SettingsError when none does."""
    there = [value for value in raw if not is_missing(value)]
    if not there:
        raise SettingsError(f"the column {column!r} has no label in the sample: nothing could be learned from it")
    for each in (task,) if task else get_args(Task):
        found = [None if is_missing(value) else _label(each, value) for value in raw]
        read = sum(label is not None for label in found)
        if read == len(there) or (read >= _MOST * len(there) and (task or not _numeric(there, each))):
            return Labels(each, found)
    example = next(value for value in there if _label(task or "regression", value) is None)
    raise SettingsError(
        f"the column {column!r} has no labels of a {task or 'binary or regression'} task, but {shown(example)}: write "
        "true or false (yes, no, 1, 0), or numbers, in the data, or name the task by --task"
    )


def _label(task: Task, value: Any) -> bool | float | None:
    try:
        return label_value(task, "", value, [])
    except Rejected:
        return None


def _numeric(there: Sequence[Any], task: Task) -> bool:
    """Whether labels that read mostly as 0 and 1 are numbers, some of them others."""
    return task == "binary" and all(_label("regression", value) is not None for value in there)


def horizon(delays: Iterable[timedelta]) -> tuple[str, timedelta | None]:
    """How long to wait for a label that comes so long after its event, and the longest delay but 1 % of them."""
    late = sorted(delay for delay in delays if delay > timedelta())
    if not late:
        return _GUESSED, None
    longest = late[(len(late) - 1) * 99 // 100]
    return next((text for text in _HORIZONS if duration(text) >= _MARGIN * longest), _HORIZONS[-1]), longest
