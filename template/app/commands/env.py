"""`api-admin env`: is everything that `.env` says right, and is everything there?"""

import os
from pathlib import Path
from typing import Annotated

import typer

from app.commands import env_file
from app.commands.console import hint, print_json, say
from app.commands.env_file import close_to_others, listed, open_to_others
from app.commands.refusals import Refused

EXAMPLE = Path(".env.example")

app = typer.Typer(
    name="env",
    help="Check the settings.",
    epilog="[bold]Example[/bold]\n\n  api-admin env check",
    no_args_is_help=True,
)


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin env check          list what is missing, misspelled or invalid
  api-admin env check --fix    add what is missing, after an update for instance,
                               and close .env and the data to other users"""
)
def check(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Add what is missing from .env.example, with its comments and a new "
            "SECRET_KEY. No line that is there is changed. Close .env and the data to "
            "other users of this machine.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the problems as a JSON list.")
    ] = False,
) -> None:
    """Compare .env with the settings and with .env.example.

    Finds missing and misspelled names, invalid values, names that are set twice and
    lines that cannot be read. Exits with 1 when there is something to mend.
    """
    from app.config.load import env_path

    path = env_path()
    if fix:
        _fix(path)
    _look_who_can_read(path, fix=fix)
    problems = find_problems(path)
    name = path or "The environment"
    if as_json:
        print_json(problems)
    elif problems:
        say(f"{name}: {len(problems)} problem{'s' * (len(problems) > 1)}", style="bold")
        for problem in problems:
            say(f"- {problem}")
    else:
        say(f"{name}: complete and valid")
    if problems:
        if path and not fix and missing(path):
            hint("Add what is missing with: api-admin env check --fix")
        raise typer.Exit(1)


def find_problems(path: Path | None) -> list[str]:
    """Return one line for each thing that is wrong with the settings."""
    from app.config.load import name_problems, read_env_file, value_problems

    if path is None:
        return name_problems({}, os.environ) + value_problems({})
    if not path.exists():
        return [f"{path} does not exist"]
    in_file = read_env_file(path)
    own = env_file.read(path)
    values = value_problems(in_file)
    lacking = [
        entry
        for entry in missing(path)
        if not any(line.startswith(f"{entry.name} is not set") for line in values)
    ]
    return [
        *(f"{path}, line {line} cannot be read" for line in own.unreadable),
        *(
            f"{EXAMPLE}, line {line} cannot be read: a conflict of an update?"
            for line in env_file.read(EXAMPLE).unreadable
        ),
        *(
            f"{name} is set more than once, the last one counts: lines "
            + ", ".join(map(str, own.lines(name)))
            for name in own.names
            if len(own.lines(name)) > 1
        ),
        *name_problems(in_file, os.environ),
        *(f"{entry.name} is missing: {entry.meaning}" for entry in lacking),
        *values,
    ]


def missing(path: Path) -> list[env_file.Entry]:
    """Return what .env.example sets and the file does not."""
    present = env_file.read(path).names
    return [e for e in env_file.read(EXAMPLE).entries if e.name not in present]


def _look_who_can_read(path: Path | None, *, fix: bool) -> None:
    from app.config.load import read_env_file

    in_file = read_env_file(path) if path and path.exists() else {}
    url = os.environ.get("DATABASE_URL") or in_file.get("DATABASE_URL") or ""
    found = open_to_others(path, url)
    if not found:
        return
    if not fix:
        hint(f"Other users of this machine can read {listed(found)}: add --fix")
        return
    try:
        close_to_others(found)
    except OSError as error:
        raise Refused(
            f"{error.filename} cannot be closed to other users: {error.strerror}"
        ) from error
    hint(f"Closed to other users: {listed(found)}")


def _fix(path: Path | None) -> None:
    from app.config.load import read_env_file

    if path is None:
        raise Refused("There is no file to fix: ENV_FILE is empty")
    if not EXAMPLE.exists():
        raise Refused(f"There is no {EXAMPLE} here to take the settings from")
    if path.exists():
        read_env_file(path)  # refuses what is no text
    for file in (path, EXAMPLE):
        if unreadable := env_file.read(file).unreadable:
            # An open quote would swallow what is added behind it, and the two sides of
            # a conflict would both be added.
            raise Refused(f"{file}, line {unreadable[0]} cannot be read: mend it first")
    wanted = missing(path)
    if not wanted:
        return
    try:
        env_file.append(path, wanted)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
    hint(f"Added to {path}: {', '.join(entry.name for entry in wanted)}")
