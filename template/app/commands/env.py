"""`api-admin env`: is everything that `.env` says right, and is everything there?

Also who else can read the secrets and the data, which `api-admin serve` asks, too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from dotenv.parser import parse_stream

from app.commands.console import hint, print_json, say
from app.commands.refusals import Refused

EXAMPLE = Path(".env.example")  # which has no secrets
PLACEHOLDER = "replace-me"
DATA = Path("data")

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
    own = read(path)
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
            for line in read(EXAMPLE).unreadable
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


def missing(path: Path) -> list[Entry]:
    """Return what .env.example sets and the file does not."""
    present = read(path).names
    return [e for e in read(EXAMPLE).entries if e.name not in present]


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
        if unreadable := read(file).unreadable:
            # An open quote would swallow what is added behind it, and the two sides of
            # a conflict would both be added.
            raise Refused(f"{file}, line {unreadable[0]} cannot be read: mend it first")
    wanted = missing(path)
    if not wanted:
        return
    try:
        append(path, wanted)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
    hint(f"Added to {path}: {', '.join(entry.name for entry in wanted)}")


# What is in such a file, and adding to it


class Entry(NamedTuple):
    """A setting in a file: its name, its line (from 1), what is there, and above it."""

    name: str
    line: int
    text: str
    comment: list[str]

    @property
    def whole(self) -> str:
        return "\n".join([*self.comment, self.text])

    @property
    def meaning(self) -> str:
        """The comment as a sentence."""
        return " ".join(line.lstrip("# ") for line in self.comment)


class EnvFile(NamedTuple):
    """What a file sets, in its order, and the lines that cannot be read."""

    entries: list[Entry]
    unreadable: list[int]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(entry.name for entry in self.entries))

    def lines(self, name: str) -> list[int]:
        """Where `name` is set; of several lines the last one counts."""
        return [entry.line for entry in self.entries if entry.name == name]


def read(path: Path) -> EnvFile:
    """Return what the file sets; nothing when there is no such file."""
    if not path.exists() or path.is_dir():
        return EnvFile([], [])
    entries = []
    unreadable = []
    comment: list[str] = []
    for part in parse_stream(StringIO(path.read_text("utf-8-sig"))):
        text = part.original.string
        start = part.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if start > part.original.line:  # after an empty line
            comment = []
        if part.error:
            unreadable.append(start)
        elif part.key is None:
            comment.append(text.strip())
        else:
            entries.append(Entry(part.key.upper(), start, text.strip(), comment))
            comment = []
    return EnvFile(entries, unreadable)


def append(path: Path, entries: Iterable[Entry]) -> None:
    """Add entries at the end of the file, which is made if need be.

    What is there stays byte for byte; what is added has the line ends of the file.
    Secrets are made here, because those of an example are known to all.
    """
    if not path.exists():
        path.touch(mode=0o600)
    existing = path.read_bytes()
    added = "".join(f"\n{_with_secrets(entry)}\n" for entry in entries)
    if not existing:
        added = added.removeprefix("\n")
    elif not existing.endswith(b"\n"):
        added = f"\n{added}"
    if b"\r\n" in existing:
        added = added.replace("\n", "\r\n")
    with path.open("ab") as file:
        file.write(added.encode())


def _with_secrets(entry: Entry) -> str:
    secret = secrets.token_hex(32)
    text = entry.text.replace(PLACEHOLDER, secret)
    if entry.name == "SECRET_KEY":
        text = f"SECRET_KEY={secret}"
    return entry._replace(text=text).whole


# Who can read secrets and data


def open_to_others(env_file: Path | None, database_url: str) -> list[Path]:
    """Return `.env`, the data's folder and SQLite's files where others can read them.

    What belongs to another user may be open to a group, for this process to read it.
    Windows, whose rights are those of the folder above, is not looked at.
    """
    if os.name != "posix":
        return []
    env_files = [] if env_file in (None, EXAMPLE) else [env_file]
    found = [path for path in (*env_files, DATA) if path and _excess(path)]
    if database_url.startswith("sqlite"):
        file = Path(database_url.partition(":///")[2].partition("?")[0])
        if _excess(file.parent):
            files = [file, *(Path(f"{file}{end}") for end in ("-wal", "-shm"))]
            found += [path for path in files if _excess(path)]
    return found


def close_to_others(paths: Iterable[Path]) -> None:
    """Leave only their owner in. Raises OSError for what belongs to another user."""
    for path in paths:
        path.chmod(path.stat().st_mode & 0o7777 & ~_excess(path))


def listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _excess(path: Path) -> int:
    """The rights at a path that are too much; none where there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_mode & (0o077 if found.st_uid == os.geteuid() else 0o007)
