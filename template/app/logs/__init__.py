"""Log lines, by category.

A line reads `2026-01-02 14:23:45 | CACHE | text`, or is a JSON object: LOG_FORMAT.
LOG_CATEGORIES says which categories speak; warnings and errors are always shown.
"""

import logging
from asyncio import CancelledError
from collections.abc import Collection
from typing import Literal

from app.logs.format import FORMATTERS, StderrHandler

AUTH = logging.getLogger("app.auth")
CACHE = logging.getLogger("app.cache")
DATABASE = logging.getLogger("app.database")
REQUESTS = logging.getLogger("app.requests")
SERVER = logging.getLogger("app.server")

__all__ = ["AUTH", "CACHE", "DATABASE", "REQUESTS", "SERVER", "configure_logs"]

_CATEGORIES = {
    "AUTH": ["app.auth"],
    "CACHE": ["app.cache"],
    "DATABASE": ["app.database", "sqlalchemy.engine", "alembic"],
    "REQUESTS": ["app.requests"],
}
_ALWAYS = ("app.server", "uvicorn.error")


def configure_logs(
    level: str, categories: Collection[str], form: Literal["text", "json"] = "text"
) -> None:
    """Log to stderr: `categories` from `level` on, the others from WARNING on."""
    root = logging.getLogger()
    handlers = [each for each in root.handlers if isinstance(each, StderrHandler)]
    if not handlers:
        handlers = [StderrHandler()]
        root.addHandler(handlers[0])
    handlers[0].setFormatter(FORMATTERS[form]())
    logging.captureWarnings(form == "json")
    least = logging.getLevelNamesMapping()[level]
    for category, names in _CATEGORIES.items():
        speaks = category in categories or "ALL" in categories
        for name in names:
            quiet = max(least, logging.WARNING)
            logging.getLogger(name).setLevel(least if speaks else quiet)
    statements = logging.getLogger("sqlalchemy.engine")
    # At DEBUG it logs the rows that it reads, password hashes among them.
    statements.setLevel(max(statements.level, logging.INFO))
    for name in _ALWAYS:
        logging.getLogger(name).setLevel(least)
    _adopt_uvicorn()


def _adopt_uvicorn() -> None:
    """One format for all lines, and no access log: it would show query strings."""
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logging.getLogger("uvicorn.error").addFilter(_tells_something)


def _tells_something(record: logging.LogRecord) -> bool:
    """Drop the traceback of a request that the end has cut off: REQUESTS names it."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, CancelledError)
