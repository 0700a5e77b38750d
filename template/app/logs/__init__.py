"""Log lines, by category; and traces, by FastAPI's own OpenTelemetry.

A line reads `2026-01-02 14:23:45 | CACHE | text`, or is a JSON object: LOG_FORMAT.
LOG_CATEGORIES says which categories speak; warnings and errors are always shown.

OTEL_EXPORTER_OTLP_ENDPOINT switches traces on; FastAPI reads that and the other OTEL_*
variables. Its metrics and logs are only sent where OTEL_METRICS_EXPORTER or
OTEL_LOGS_EXPORTER is otlp.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from asyncio import CancelledError
from collections.abc import Collection, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TextIO

from opentelemetry import trace

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from sqlalchemy.ext.asyncio import AsyncEngine
    from starlette.types import Scope

AUTH = logging.getLogger("app.auth")
CACHE = logging.getLogger("app.cache")
DATABASE = logging.getLogger("app.database")
REQUESTS = logging.getLogger("app.requests")
SERVER = logging.getLogger("app.server")

# Empty outside a request. Threads and tasks that a request starts have it, too.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# What asks for these has no span, and a line only where something is wrong.
PROBES = frozenset({"/livez", "/readyz"})

__all__ = [
    "AUTH",
    "CACHE",
    "DATABASE",
    "PROBES",
    "REQUESTS",
    "SERVER",
    "configure_logs",
    "request_id",
    "telemetry",
    "trace_libraries",
]

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


# One record stays one line, whatever a client put into its path.
_BREAKS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _BREAKS}
# A traceback has lines of its own, which are indented.
_ESCAPES_BUT_LINES = {code: _ESCAPES[code] for code in _BREAKS if code != ord("\n")}


class LineFormatter(logging.Formatter):
    """`2026-01-02 14:23:45 | CACHE | text`, then the traceback, if there is one.

    The text of a warning begins with WARNING, that of an error with ERROR; a line that
    was written during a request ends with ` | ` and the request's id.
    """

    def __init__(self) -> None:
        line = "%(asctime)s | %(category)s | %(message)s"
        super().__init__(line, "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.category = _category(record)
        message, during = record.message.rstrip("\n"), request_id.get()
        if record.levelno >= logging.WARNING:
            message = f"{record.levelname}: {message}"
        if during:
            message = f"{message} | {during}"
        record.message = message.translate(_ESCAPES)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).translate(_ESCAPES_BUT_LINES)
        # An exception may quote a client; no line of it looks like one of the log.
        return text.replace("\n", "\n  ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, so that nothing in it is a control character.

    A record's `fields` (`extra={"fields": {…}}`) are fields of the object, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "category": _category(record),
            "logger": record.name,
            "message": record.getMessage().rstrip("\n"),
        }
        if during := request_id.get():
            line["request_id"] = during
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
            line["span_id"] = f"{context.span_id:016x}"
        line |= getattr(record, "fields", {}) | line  # what is ours stays
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return _encode(line)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now, not to what it was at the start."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_encode = json.JSONEncoder(default=str).encode

FORMATTERS = {"text": LineFormatter, "json": JsonFormatter}


def _category(record: logging.LogRecord) -> str:
    """`app.cache` is CACHE, a library of the database DATABASE, the rest SERVER."""
    package, _, rest = record.name.partition(".")
    if package == "app" and rest:
        return rest.partition(".")[0].upper()
    return "DATABASE" if package in ("sqlalchemy", "alembic") else "SERVER"


def _rfc3339(seconds: float) -> str:
    """Return a time as `2026-01-02T14:23:45.123Z`."""
    time = datetime.fromtimestamp(seconds, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Traces

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OURS = ("asgi", "fastapi", "logging", "starlette")  # FastAPI and this module do that
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"


def telemetry(root_path: str) -> TelemetryConfig:
    """Return what FastAPI is told of traces.

    It has one span for a request: those of the steps of a request cost more than a hit.
    Where a provider is there already, as with `opentelemetry-instrument`, that exports.
    """

    def is_probe(scope: Scope) -> bool:
        path: str = scope["path"]
        return path.removeprefix(root_path) in PROBES

    return {
        "auto_configure": _endpoint() is not None
        and not _is_configured()
        and not _lacking(),
        "exclude": is_probe,
        "operation_spans": False,
        "metrics": os.environ.get("OTEL_METRICS_EXPORTER") == "otlp",
        "logs": os.environ.get("OTEL_LOGS_EXPORTER") == "otlp",
    }


def trace_libraries(engines: Sequence[AsyncEngine]) -> None:
    """Have other libraries make spans, where the packages for that are installed.

    Say what to install where traces are asked for and cannot be made.
    """
    if not _is_configured():
        if (name := _endpoint()) is not None and _lacking():
            SERVER.warning("%s needs packages for traces: uv add %s", name, _PACKAGES)
        return
    for package in entry_points(group="opentelemetry_instrumentor"):
        if package.name == "sqlalchemy":
            # It names SQLAlchemy 2.0 as the newest that it knows, and works with 2.1.
            these = [engine.sync_engine for engine in engines]
            _instrument(package.load()(), skip_dep_check=True, engines=these)
        elif package.name not in _OURS:
            _instrument(package.load()())


def _instrument(instrumentor: Any, **options: Any) -> None:
    if not instrumentor.is_instrumented_by_opentelemetry:  # it is once in a process
        instrumentor.instrument(**options)


def _endpoint() -> str | None:
    """Return the variable that says where traces go, None where nothing does."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return next((name for name in _ENDPOINTS if os.environ.get(name)), None)


def _is_configured() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _lacking() -> bool:
    """Tell whether a package is not there that traces need."""
    return not all(map(_installed, _NEEDED))


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # nor is what it is in
        return False
