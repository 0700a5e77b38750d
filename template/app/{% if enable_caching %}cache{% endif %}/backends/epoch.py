"""How a command tells a running service that its memory is out of date.

Memory cannot be reached from another process. A command or a script that commits a
change therefore renews a file in the service's folder, and the service looks at that
file's time at each lookup, which costs about a microsecond. A time to come says that a
change is being committed: until then, the service neither serves nor stores.
"""

import os
import secrets
import time
from pathlib import Path

from app.cache.storage import closed_by, fences_in

EPOCH_FILE = Path("data/cache-epoch")
LONGEST_FENCE = 60  # seconds; a time after that is that of a clock which was wrong


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
        return 0 < self._seen[0] - time.time_ns() <= LONGEST_FENCE * 1_000_000_000

    def _now(self) -> tuple[int, int]:
        try:
            found = self._file.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def end_epoch(
    file: Path = EPOCH_FILE, *, owner: bytes = b"", seconds: float = 0
) -> None:
    """Make every process on this machine forget what it has in memory.

    With `seconds`, they remember nothing new for so long, or until this owner ends the
    epoch without them. Raises OSError where the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fences = fences_in(file.read_bytes() if file.exists() else b"")
    fences.pop(owner, None)
    if seconds:
        fences[owner] = time.time() + seconds
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    fresh.write_bytes(closed_by(fences))
    if fences:
        os.utime(fresh, (last := max(fences.values()), last))
    fresh.replace(file)  # a new inode, so that equal times cannot hide a change
