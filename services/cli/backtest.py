"""``rivermill backtest``: what a pipeline would have said of the past, and how right it would have been."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cyclopts import Parameter, validators

from services.cli import backtest_input, backtest_shown, report, target, terminal
from services.cli.backtest_measures import Period
from services.cli.backtest_run import run
from services.cli.offline import Raw
from services.domain.spec import SpecError, duration
from services.domain.spec_tables import MAX_PARTITIONS
from services.runtime.launch import load
from services.runtime.settings import SettingsError

_STOPPED = 130
_YEAR_DAYS = 365
_NO_DIRT, _SEED = 0.0, 2013


def backtest(
    pipeline: Annotated[Path, Parameter(help="The pipeline file.")],
    /,
    *,
    events: Annotated[Path | None, Parameter(help="Raw events, .jsonl or .csv.")] = None,
    labels: Annotated[Path | None, Parameter(help="Their labels, .jsonl or .csv.")] = None,
    example: Annotated[
        Literal["flights"] | None, Parameter(help="In place of files: the flights that left New York in 2013.")
    ] = None,
    days: Annotated[
        int,
        Parameter(help="Of the example: the first so many days.", validator=validators.Number(gte=1, lte=_YEAR_DAYS)),
    ] = _YEAR_DAYS,
    dirt: Annotated[
        float,
        Parameter(
            help="Of the example: the share of records that is soiled.", validator=validators.Number(gte=0, lte=1)
        ),
    ] = _NO_DIRT,
    seed: Annotated[
        int,
        Parameter(
            help="Of the example: which records are soiled, and how.", validator=validators.Number(gte=0, lt=2**32)
        ),
    ] = _SEED,
    partitions: Annotated[
        int | None,
        Parameter(help="In place of the pipeline file's.", validator=validators.Number(gte=1, lte=MAX_PARTITIONS)),
    ] = None,
    label_lag: Annotated[str | None, Parameter(help="Labels come so much later than their time: 90s, 10m, 2h.")] = None,
    by: Annotated[Period | None, Parameter(help="Rows of the table. Default: at most 31 of them.")] = None,
    report_file: Annotated[
        Path | None, target.WriteTo, Parameter(name="--report", help="Write an HTML page with plots.")
    ] = None,
    json: target.Json = False,
) -> int:
    """Replay the past through a pipeline, and measure what it would have predicted.

    The same code as live in one process, without Kafka, in the order of event time: each prediction knows exactly
    the labels that had arrived by then. It is measured before its own label is known (prequential evaluation), so this
    is the honest score of a pipeline before it is deployed.

    Try `rivermill backtest examples/flights/pipeline.toml --example flights --days 60 --report flights.html`, or
    `rivermill backtest orders.toml --events orders.csv --labels paid.csv --label-lag 5m`.
    """
    _require_one_past(example, events, labels, (days, dirt, seed))
    spec = load(pipeline)
    lag = _lag(label_lag)
    records: Iterable[Raw]
    if example is None:
        if events is None or labels is None:
            raise SettingsError(
                "a backtest needs the past: --events FILE --labels FILE (.jsonl or .csv), or --example flights"
            )
        records, expected = backtest_input.from_files(spec, events, labels, lag)
    else:
        records, expected = backtest_input.flights(days, dirt, seed, lag)
    with _interruptible() as stopped, backtest_shown.Progress(expected) as shown:
        result = run(
            spec, records, partitions=partitions, lag=lag, period=by, progress=shown.update, stopped=stopped.is_set
        )
    if report_file is not None:
        report_file.write_text(report.page(result, ZoneInfo(spec.event.timezone)), encoding="utf-8")
    if json:
        terminal.print_json(result)
    else:
        backtest_shown.show(result, ZoneInfo(spec.event.timezone), report_file)
    return _STOPPED if result.stopped else 0 if result.balanced else 1


def _require_one_past(
    example: str | None, events: Path | None, labels: Path | None, of_example: tuple[int, float, int]
) -> None:
    """SettingsError for options of which one would be ignored."""
    if example is not None and (events or labels):
        raise SettingsError("--example is in place of files: leave it out, or --events and --labels")
    if example is None and of_example != (_YEAR_DAYS, _NO_DIRT, _SEED):
        raise SettingsError(
            "--days, --dirt and --seed go with --example flights: files are replayed whole, as they are"
        )


@contextmanager
def _interruptible() -> Iterator[Event]:
    """The event is set by Ctrl-C; a second one ends the process as ever."""
    stopped = Event()

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _lag(text: str | None) -> timedelta:
    try:
        return duration(text) if text is not None else timedelta()
    except SpecError as error:
        raise SettingsError(f"--label-lag: {error}") from error
