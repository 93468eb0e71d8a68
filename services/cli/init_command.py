"""The command ``rivermill init``."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from services.cli.init_answers import Task
from services.cli.init_file import written
from services.cli.init_outline import Asked, Outline, outlined
from services.cli.init_sample import Sample, read_sample
from services.domain.spec import SpecError, parse
from services.runtime.settings import SettingsError

_MOST_RECORDS = 1_000_000
_UNNAMED = re.compile(r"[^a-z0-9_-]+")


def init(
    events: Annotated[
        Path, Parameter(help="A sample of events, .csv or .jsonl; with their labels, if in the same file.")
    ],
    /,
    *,
    id: Annotated[str, Parameter(help="The column that identifies an event, and its label.")],  # noqa: A002 - its name
    time: Annotated[str, Parameter(help="The column of the event's time.")],
    label: Annotated[str, Parameter(help="The column of what is to be predicted.")],
    labels: Annotated[Path | None, Parameter(help="The file of the labels, if they have one of their own.")] = None,
    label_time: Annotated[
        str | None, Parameter(help="The column of the time at which the label is known. Default: that of the event's.")
    ] = None,
    task: Annotated[Task | None, Parameter(help="Default: what fits the labels.")] = None,
    output: Annotated[Path | None, Parameter(help="The file to write. Default: the sample's name, with .toml.")] = None,
    rows: Annotated[
        int, Parameter(help="Read at most so many records.", validator=validators.Number(gte=1, lte=_MOST_RECORDS))
    ] = 10_000,
    force: Annotated[bool, Parameter(negative="", help="Overwrite the file if it exists.")] = False,
) -> int:
    """Write a commented first pipeline file from a sample of events and labels.

    Every column is judged by what cleaning would make of it: type, spellings, range, gaps. Columns that cannot help are
    left out and told. What is a guess says "check" in the file.

    Try `rivermill init orders.csv --id order_id --time placed_at --label returned --label-time decided_at`.
    """
    target = output or Path(f"{events.stem}.toml")
    if target.exists() and not force:
        raise SettingsError(f"{target} exists: name another by --output, or overwrite it by --force")
    sample = read_sample(events, rows, {id})
    answers = None if labels is None else read_sample(labels, rows, {id})
    outline = outlined(Asked(id, time, label, label_time, task), sample, answers)
    text = written(_name(target), outline, _source(events, sample))
    try:
        parse(text, str(target))
    except SpecError as error:
        raise SettingsError(f"no valid pipeline file comes of this sample: {str(error).splitlines()[0]}") from error
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written ({error.strerror})") from error
    _tell(target, outline, sample, events, labels or events)
    return 0


def _name(target: Path) -> str:
    """A pipeline's name made of the file's."""
    return _UNNAMED.sub("-", target.stem.lower()).strip("-_")[:64] or "pipeline"


def _source(events: Path, sample: Sample) -> str:
    how_many = f"{'all' if sample.whole else 'the first'} {len(sample.rows):,} records"
    name = "".join(character if character.isprintable() else "?" for character in events.name)
    return f"{how_many} of {name}"


def _tell(target: Path, outline: Outline, sample: Sample, events: Path, labels: Path) -> None:
    kinds = [column.kind for column in outline.features]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"{target}: a {outline.labels.task} task from {len(sample.rows):,} records, features: {counted or 'derived'}")
    if sample.unreadable:
        print(f"  {sample.unreadable:,} records are no JSON objects: in a topic they would be dead letters")
    if outline.dropped:
        print(f"  {len(outline.dropped)} columns left out; the file says why")
    for name in sorted(outline.telling):
        print(f"  check {name!r}: it alone tells the label. Is it known when the event is sent?")
    path, first, second = (shlex.quote(str(each)) for each in (target, events, labels))
    print(f"Now read it, then try it on the past:\n  rivermill backtest {path} --events {first} --labels {second}")
