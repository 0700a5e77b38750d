"""What commands print: tables and sentences for people, JSON for scripts.

Values come from users, so they are never read as markup, and control characters (which
could move the cursor of the administrator's terminal) are shown instead of sent.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

ENDLESS = 10_000
"""Columns of a pipe: a row stays one line for grep, awk and friends."""


def say(text: str, style: str = "") -> None:
    """Print one sentence, never broken into lines."""
    _console().print(Text(printable(text), style=style), soft_wrap=True)


def hint(text: str) -> None:
    """Print a remark on stderr, where it does not get into a script's input."""
    typer.secho(printable(text), dim=True, err=True)


def print_json(value: object) -> None:
    """Print `value`, which holds only what JSON knows."""
    typer.echo(json.dumps(value, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; a narrow terminal folds the cells."""
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    _console().print(table)


def print_record(pairs: Iterable[tuple[str, object]]) -> None:
    """Print the fields of one thing, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(cell(value)))
    _console().print(table)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far something is; call the result with the number done."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def cell(value: object) -> str:
    """`value` as people read it: yes, no, a time to the minute in UTC, `-` for none."""
    match value:
        case None | "" | [] | ():
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case list() | tuple():
            return printable(" ".join(map(str, value)))
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """`text` with its control characters escaped (`\\x1b`)."""
    return "".join(
        char if char.isprintable() or char == "\n" else repr(char)[1:-1]
        for char in text
    )


def _console() -> Console:
    # Made for each use, because tests and shells exchange sys.stdout.
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=ENDLESS if piped else None, highlight=False, emoji=False)
