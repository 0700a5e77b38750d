"""How a command tells a running service that its memory is out of date.

Memory cannot be reached from another process. A command or a script that commits a
change therefore renews a file in the service's folder, and the service looks at that
file's time at each lookup, which costs about a microsecond.
"""

import logging
import secrets
from pathlib import Path

EPOCH_FILE = Path("data/cache-epoch")

log = logging.getLogger("app.cache")


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

    def _now(self) -> tuple[int, int]:
        try:
            found = self._file.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def end_epoch(file: Path = EPOCH_FILE) -> None:
    """Make every process on this machine forget what it has in memory."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        fresh.touch()
        fresh.replace(file)  # a new inode, so that equal times cannot hide a change
    except OSError as error:
        log.error(
            "A running service keeps its cached answers until they expire, since it "
            "cannot be told of this change: %s. Restart it.",
            error,
        )
