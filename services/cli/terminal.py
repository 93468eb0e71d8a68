"""How the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from services.cli.account import Account

SECONDS_A_DAY = 86_400
_WIDTH = 200
"""Columns when the output is no terminal: a table is not to be folded for a file."""


def console() -> Console:
    """Standard output; numbers and paths are left uncoloured."""
    wide = None if sys.stdout.isatty() else _WIDTH
    return Console(highlight=False, soft_wrap=True, width=wide)


def print_json(value: Any) -> None:
    """One JSON document, indented on a terminal, on one line otherwise."""
    text = msgspec.json.encode(value)
    print((msgspec.json.format(text) if sys.stdout.isatty() else text).decode())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> Table:
    """A plain table; columns numbered in ``right`` hold numbers."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        drawn.add_column(
            column, justify="right" if number in right else "left", header_style="dim", no_wrap=number == 0
        )
    for row in rows:
        drawn.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return drawn


def account_lines(account: Account) -> list[str]:
    """The account for people: one line an equation, then what disagrees with the topics, then the verdict (markup)."""
    lines = []
    for each in account.equations:
        mark = "[green]✓[/]" if each.difference == 0 else f"[red]✗ {each.difference:+,}[/]"
        lines.append(f"  {each.name:<13} {_sum(each.left)} = {_sum(each.right)}  {mark}")
    wrong = [check for check in account.checks if not check.agrees]
    cut = [check.what for check in account.checks if check.found is None]
    lines += [
        f"  [red]{each.what}: the checkpoints say {each.told:,}, the topic holds {each.found:,}[/]" for each in wrong
    ]
    if account.checks and not wrong:
        lines.append(f"  {len(account.checks) - len(cut)} counts agree with what lies in the topics, record by record")
    if cut:
        lines.append(f"  not checked, because retention has removed records: {', '.join(cut)}")
    lines.append(
        "[bold green]The account balances.[/]" if account.balanced else "[bold red]The account does not balance.[/]"
    )
    return lines


def _sum(side: dict[str, int]) -> str:
    shown = {name: count for name, count in side.items() if count} or dict(list(side.items())[:1])
    return " + ".join(f"{count:,} {name}" for name, count in shown.items())
