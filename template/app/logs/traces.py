"""Traces, by FastAPI's own OpenTelemetry.

OTEL_EXPORTER_OTLP_ENDPOINT switches them on; FastAPI reads that and the other OTEL_*
variables. Its metrics and logs are only sent where OTEL_METRICS_EXPORTER or
OTEL_LOGS_EXPORTER is otlp.
"""

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Scope

from app.logs import SERVER
from app.middleware.bounds import PROBES

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OURS = ("asgi", "fastapi", "logging", "starlette")  # FastAPI and app.logs do that
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
