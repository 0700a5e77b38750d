"""Questions to the person at the terminal. A script is told the option instead."""

import sys

import typer

from app.commands.refusals import Misused, Refused


def confirm(question: str, *, yes: bool, option: str = "--yes") -> None:
    """Ask before something that cannot be undone, unless `yes` says so already."""
    if yes:
        return
    _need_terminal(f"This asks for a confirmation. To agree, add {option}")
    if not typer.confirm(question, err=True):
        raise Refused("Stopped, nothing was changed")


def ask(value: str | None, label: str, option: str) -> str:
    """Return `value`, or what the person types when it was not given as `option`."""
    if value is not None:
        return value
    _need_terminal(f"{label} is missing: add {option}")
    answer: str = typer.prompt(label, err=True)
    return answer


def ask_password(value: str | None, *, from_stdin: bool) -> str:
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
    answer: str = typer.prompt(
        "Password", hide_input=True, confirmation_prompt="Password again", err=True
    )
    return answer


def _need_terminal(otherwise: str) -> None:
    if not sys.stdin.isatty():
        raise Misused(otherwise)
