"""How a log line looks and where it goes."""

import logging
import sys
from typing import TextIO

# One record stays one line, whatever a client put into its path.
_BREAKS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _BREAKS}
# A traceback has lines of its own.
_ESCAPES_BUT_LINES = {code: _ESCAPES[code] for code in _BREAKS if code != ord("\n")}


class LineFormatter(logging.Formatter):
    """`2026-01-02 14:23:45 | CACHE | text`, then the traceback, if there is one."""

    def __init__(self) -> None:
        line = "%(asctime)s | %(category)s | %(message)s"
        super().__init__(line, "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.category = _category(record)
        record.message = record.message.translate(_ESCAPES)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_ESCAPES_BUT_LINES)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now, not to what it was at the start."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _category(record: logging.LogRecord) -> str:
    """`app.cache` is CACHE, a library of the database DATABASE, the rest SERVER."""
    package, _, rest = record.name.partition(".")
    if package == "app" and rest:
        return rest.partition(".")[0].upper()
    return "DATABASE" if package in ("sqlalchemy", "alembic") else "SERVER"
