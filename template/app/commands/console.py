"""What commands print and ask: for people, and for scripts.

Values come from users, so they are never read as markup, and control characters (which
could move the cursor of the terminal) are shown instead of sent. A script is told the
option in place of a question. Options that mean the same in every command are at the
end.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from app.commands.refusals import Misused, Refused, reason

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


def announce(things: str, shown: int, total: int, page: int, size: int) -> None:
    """Say on stderr which part of the list this is, unless it is all of it."""
    pages = -(-total // size)
    if page > max(pages, 1):
        raise Refused(f"There is no page {page:,}: {total:,} {things} fill {pages:,}")
    if total <= size:
        return
    first = (page - 1) * size + 1
    line = f"Showing {first:,} to {first + shown - 1:,} of {total:,} {things}"
    hint(f"{line}. Next: --page {page + 1}" if page < pages else line)


def fields_of(headers: Sequence[str] | None) -> dict[str, str]:
    """Return the headers of `WithHeaders`; their names are in lower case."""
    found = {}
    for text in headers or ():
        name, colon, value = text.partition(":")
        if not colon or not text.isascii():
            raise Misused(
                f"{text!r} is no header: write it as in 'Accept-Language: de'"
            )
        found[name.strip().lower()] = value.strip()
    return found


Check = Callable[[str], object]  # raises what `reason` has a sentence for


def confirm(question: str, *, yes: bool, option: str = "--yes") -> None:
    """Ask before something that cannot be undone, unless `yes` says so already."""
    if yes:
        return
    _need_terminal(f"This asks for a confirmation. To agree, add {option}")
    if not typer.confirm(question, err=True):
        raise Refused("Stopped, nothing was changed")


def ask(value: str | None, label: str, option: str, check: Check) -> str:
    """Return `value`, or what the person types when it was not given as `option`.

    What `check` refuses has to be typed again.
    """
    if value is not None:
        return value
    _need_terminal(f"{label} is missing: add {option}")
    return _typed(label, check)


def ask_password(value: str | None, check: Check, *, from_stdin: bool) -> str:
    """Return the given password, or read it: one line of stdin, or a hidden prompt."""
    if value is not None and from_stdin:
        raise Misused("Use either --password or --password-stdin")
    if value is not None:
        return value
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise Misused("--password-stdin found no password on the standard input")
        return password
    _need_terminal("The password is missing: send it to --password-stdin")
    while True:
        password = _typed("Password", check, hidden=True)
        if typer.prompt("Password again", hide_input=True, err=True) == password:
            return password
        _say_error("These are two different passwords")


def _typed(label: str, check: Check, *, hidden: bool = False) -> str:
    while True:
        answer: str = typer.prompt(label, hide_input=hidden, err=True)
        try:
            check(answer)
        except Exception as error:
            if (line := reason(error)) is None:
                raise
            _say_error(line)
        else:
            return answer


def _say_error(line: str) -> None:
    typer.secho(line, fg=typer.colors.RED, err=True)


def _need_terminal(otherwise: str) -> None:
    if not sys.stdin.isatty():
        raise Misused(otherwise)


Who = Annotated[
    str, typer.Argument(metavar="USER", help="The user's id or e-mail address.")
]
AsUser = Annotated[
    str | None,
    typer.Option("--user", metavar="USER", help="Ask as this user (id or e-mail)."),
]
WithHeaders = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        "-H",
        metavar="HEADER",
        help="Ask with this one, as in 'Accept-Language: de'. Repeatable.",
    ),
]
Page = Annotated[int, typer.Option(min=1, max=2**31, help="Which page.")]
Size = Annotated[int, typer.Option(min=1, max=1000, help="Rows on a page.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Password = Annotated[
    str | None,
    typer.Option(
        help="The password. Other users of this machine can read it in the list of "
        "processes, and it stays in the shell's history: prefer --password-stdin.",
    ),
]
PasswordFromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin.")
]
