"""Writes the flights as two files of JSON lines, for a backtest: ``python -m examples.flights.export DIRECTORY``.

``events.jsonl`` and ``labels.jsonl`` hold the values that a replay of the same days, share and seed sends, in the same
order; keys are left out. With ``--csv`` they are ``events.csv`` and ``labels.csv``, of clean flights alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from examples.flights.data import YEAR_DAYS, FlightsError, flights
from examples.flights.dirt import SEED, SHARE, Send, soil


def export(sends: Iterable[Send], directory: Path) -> Counter[str]:
    """Write the values of ``sends`` to ``directory``, a line each; returns how many of each kind."""
    directory.mkdir(parents=True, exist_ok=True)
    written: Counter[str] = Counter()
    with (directory / "events.jsonl").open("wb") as events, (directory / "labels.jsonl").open("wb") as labels:
        files = {"event": events, "label": labels}
        for send in sends:
            files[send.kind].write(send.value + b"\n")
            written[send.kind] += 1
    return written


def export_csv(sends: Iterable[Send], directory: Path) -> Counter[str]:
    """The same as two files of CSV: what is null is an empty cell. For sends that are not soiled."""
    directory.mkdir(parents=True, exist_ok=True)
    written: Counter[str] = Counter()
    with (
        (directory / "events.csv").open("w", newline="", encoding="utf-8") as events,
        (directory / "labels.csv").open("w", newline="", encoding="utf-8") as labels,
    ):
        files = {"event": csv.writer(events), "label": csv.writer(labels)}
        for send in sends:
            fields = json.loads(send.value)
            if not written[send.kind]:
                files[send.kind].writerow(fields)
            files[send.kind].writerow(map(_cell, fields.values()))
            written[send.kind] += 1
    return written


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit code 1 with one line when something is in the way."""
    parser = argparse.ArgumentParser(prog="python -m examples.flights.export", description=__doc__)
    parser.add_argument("directory", type=Path, help="where to write events.jsonl and labels.jsonl")
    parser.add_argument("--days", type=int, default=YEAR_DAYS, help="how many days of 2013 (the whole year)")
    parser.add_argument("--flights", type=int, help="how many flights at most")
    parser.add_argument("--share", type=float, default=0.0, help=f"share that is soiled (0; the replay soils {SHARE})")
    parser.add_argument("--seed", type=int, default=SEED, help="which flights are soiled, and how")
    parser.add_argument("--kilometres", action="store_true", help="with the drift of the replay, 14 to 21 February")
    parser.add_argument("--csv", action="store_true", help="CSV in place of JSON lines, which dirt would not fit")
    chosen = parser.parse_args(arguments)
    if chosen.csv and (chosen.share or chosen.kilometres):
        parser.error("--csv writes clean flights alone: leave out --share and --kilometres")
    try:
        sends = soil(flights(chosen.days, chosen.flights), chosen.share, chosen.seed, chosen.kilometres)
        written = (export_csv if chosen.csv else export)(sends, chosen.directory)
    except (FlightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{written['event']:,} events and {written['label']:,} labels in {chosen.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
