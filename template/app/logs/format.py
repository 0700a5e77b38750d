"""How a log line looks and where it goes."""

import logging
import sys
from typing import TextIO

# One record stays one line, whatever a client put into its path or its headers.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}


class LineFormatter(logging.Formatter):
    """`2026-01-02 14:23:45 | CACHE | text`, then the traceback, if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s | %(category)s | %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.category = _category(record)
        record.message = record.message.translate(_CONTROL)
        return super().formatMessage(record)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now, not to what it was at the start."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is always sys.stderr")


def _category(record: logging.LogRecord) -> str:
    if record.levelno >= logging.WARNING and not record.name.startswith("app."):
        return record.levelname
    package, _, rest = record.name.partition(".")
    if package == "app" and rest:
        return rest.partition(".")[0].upper()
    return "DATABASE" if package == "sqlalchemy" else "SERVER"
