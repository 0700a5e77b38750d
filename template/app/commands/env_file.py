"""What is in `.env` and `.env.example`, adding to it; who can read secrets and data."""

import os
import secrets
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream

PLACEHOLDER = "replace-me"


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


DATA = Path("data")
EXAMPLE = Path(".env.example")  # which has no secrets


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
