"""Log lines, by category.

A line reads `2026-01-02 14:23:45 | CACHE | text`. LOG_CATEGORIES says which categories
speak; warnings and errors are always shown.
"""

import logging

from app.logs.format import LineFormatter, StderrHandler

AUTH = logging.getLogger("app.auth")
CACHE = logging.getLogger("app.cache")
DATABASE = logging.getLogger("app.database")
REQUESTS = logging.getLogger("app.requests")
SERVER = logging.getLogger("app.server")

__all__ = ["AUTH", "CACHE", "DATABASE", "REQUESTS", "SERVER", "configure_logs"]

# Loggers of libraries that speak for one of our categories.
_LIBRARIES = {"DATABASE": logging.getLogger("sqlalchemy.engine")}
_CATEGORIES = {"AUTH": AUTH, "CACHE": CACHE, "DATABASE": DATABASE, "REQUESTS": REQUESTS}


def configure_logs(level: str, categories: frozenset[str]) -> None:
    """Send all log lines to stderr; `categories` holds enabled names, or ALL."""
    root = logging.getLogger()
    root.setLevel(level)
    if not any(isinstance(handler, StderrHandler) for handler in root.handlers):
        handler = StderrHandler()
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    for name, logger in _CATEGORIES.items():
        enabled = name in categories or "ALL" in categories
        quiet = max(logging.WARNING, root.level)
        logger.setLevel(root.level if enabled else quiet)
        if name in _LIBRARIES:
            _LIBRARIES[name].setLevel(logger.level)
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
