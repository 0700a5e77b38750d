"""Files with secrets and data, which nobody but their owner should read."""

import os
from collections.abc import Iterable
from pathlib import Path

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
