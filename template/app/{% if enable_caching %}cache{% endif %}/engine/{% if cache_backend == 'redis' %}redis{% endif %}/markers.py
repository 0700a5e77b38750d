"""Files by which the processes on one machine know how each other stands with Redis.

A process has one of a kind while that kind's condition holds. Its lock on the file ends
with the process, however that ends: a file without a lock was left behind.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from app.cache.engine.memory import EPOCH_FILE

UNDELIVERED = "cache-undelivered-"  # it keeps invalidations for Redis
ALONE = "cache-alone-"  # it answers from its own memory


class Marker:
    """The file of one process, and its view of those of others of the same kind."""

    def __init__(self, kind: str, folder: Path = EPOCH_FILE.parent) -> None:
        self._folder = folder
        self._kind = kind
        self._path = folder / f"{kind}{secrets.token_hex(8)}"
        self._file: IO[str] | None = None
        self._done: set[Path] = set()

    def show(self) -> None:
        """Have the file there; OSError when the folder cannot be written."""
        if self._file is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        hidden = self._path.with_name(f".{self._path.name}")
        self._file = hidden.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        hidden.replace(self._path)  # nobody finds it unlocked

    def remove(self) -> None:
        """Have no file."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink()
            self.leave()

    def leave(self) -> None:
        """Let the others find the file as that of a process which has ended."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def others(self) -> int:
        """Return how many other processes on this machine have a file."""
        return len(self._found() - self._done - {self._path})

    def left_behind(self) -> Iterator[Path]:
        """Yield each file whose process has ended; no other process gets it meanwhile.

        Call `dispose` with it when its condition does not hold any more.
        """
        for path in self._found() - self._done - {self._path}:
            with suppress(OSError), closing(path.open()) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_nlink:  # else its owner has removed it
                    yield path

    def dispose(self, path: Path) -> None:
        """Remove a file that was left behind."""
        self._done.add(path)  # even if it may not be removed
        with suppress(OSError):
            path.unlink()

    def _found(self) -> set[Path]:
        return set(self._folder.glob(f"{self._kind}*"))
