"""Questions to the person at the terminal. A script is told the option instead."""

import sys
from collections.abc import Callable

import typer

from app.commands.refusals import Misused, Refused, reason

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
