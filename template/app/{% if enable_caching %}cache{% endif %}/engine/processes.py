"""How the processes of one machine hear of each other: by files that they share.

The *epoch* is a file whose time tells when somebody changed the data. Looking at it
costs about a microsecond. A time to come says that a change is being committed: until
then, nothing may be served or stored.

A *marker* is a file by which a process says something of itself. Its lock on the file
ends with the process, however that ends: a file without a lock was left behind.
"""

import glob
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any, cast

from app.cache.engine.store import CLOSED

try:
    import fcntl
except ImportError:  # Windows
    fcntl = cast("Any", None)

EPOCH_FILE = Path("data/cache-epoch")  # in PostgreSQL's place, the working folder
_LONGEST_FENCE = 60  # seconds; a time after that is that of a clock which was wrong
_FENCES = re.compile(rb"(\w+):(\d+(?:\.\d+)?)")


def epoch_file(database_url: str) -> Path:
    """Return where the processes that share a database tell each other of changes."""
    backend, _, file = database_url.partition(":///")
    if not backend.startswith("sqlite") or not file or file == ":memory:":
        return EPOCH_FILE
    database = Path(file.partition("?")[0])
    return database.with_name(f"{database.name}-{EPOCH_FILE.name}")


class Epoch:
    """Watches the file for one process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = self._now()

    def ended(self) -> bool:
        """Tell, once, that another process renewed the file."""
        now = self._now()
        if now == self._seen:
            return False
        self._seen = now
        return True

    def closed(self) -> bool:
        """Tell whether the next epoch is yet to begin, by when `ended` looked."""
        return 0 < self._seen[0] - time.time_ns() <= _LONGEST_FENCE * 1_000_000_000

    def _now(self) -> tuple[int, int]:
        try:
            found = self._file.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def end_epoch(file: Path, *, owner: bytes = b"", seconds: float = 0) -> None:
    """Make every process on this machine forget what it has in memory.

    With `seconds`, they remember nothing new for so long, or until this owner ends the
    epoch without them. Raises OSError where the file cannot be written.
    """
    file.parent.mkdir(0o700, parents=True, exist_ok=True)
    fences = _fences_in(file.read_bytes() if file.exists() else b"")
    fences.pop(owner, None)
    if seconds:
        fences[owner] = time.time() + seconds
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    fresh.write_bytes(CLOSED + b" ".join(b"%s:%f" % each for each in fences.items()))
    if fences:
        os.utime(fresh, (last := max(fences.values()), last))
    fresh.replace(file)  # a new inode, so that equal times cannot hide a change


def _fences_in(value: bytes) -> dict[bytes, float]:
    """Return who has closed the epoch, and until when."""
    fences = {owner: float(end) for owner, end in _FENCES.findall(value)}
    return {owner: end for owner, end in fences.items() if end > time.time()}


class Marker:
    """The file of one application, and its view of those of others of the same kind.

    They are beside the epoch that they share.
    """

    def __init__(self, epoch: Path, kind: str) -> None:
        self._folder = epoch.parent
        self._kind = f"{epoch.name}-{kind}-"
        self._path = self._folder / f"{self._kind}{secrets.token_hex(8)}"
        self._file: IO[str] | None = None
        self._done = {self._path}

    def show(self) -> None:
        """Have the file there; OSError when the folder cannot be written."""
        if fcntl is None:
            raise OSError("this system has no flock")
        if self._file is None:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
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
        """Return how many others on this machine have a file, or have left one."""
        return len(self._found())

    def others_live(self) -> bool:
        """Tell whether others that have a file live; what was left is removed."""
        for _ in self.left_behind():
            pass
        return bool(self._found())

    def left_behind(self) -> Iterator[Path]:
        """Yield each file whose process has ended; no other process gets it meanwhile.

        It is removed when the next one is asked for.
        """
        for path in self._found():
            with suppress(OSError), closing(path.open()) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_nlink:  # else its owner has removed it
                    yield path
                    self._done.add(path)  # for good, if it may not be removed
                    path.unlink()
                    self._done.remove(path)

    def _found(self) -> set[Path]:
        return set(self._folder.glob(f"{glob.escape(self._kind)}*")) - self._done
