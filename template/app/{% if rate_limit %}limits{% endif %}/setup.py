"""How an application gets its limits."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant

from app.config import Settings
from app.errors import TooManyRequests
from app.limits.counting import Limits
from app.limits.rate import RateLimit
from app.limits.routes import RouteLimit
from app.limits.storage import is_shared
from app.logs import SERVER
from app.openapi import problems
from app.resources.access import walk


def install_limits(app: FastAPI, settings: Settings) -> None:
    """Give an application its counters, and declare 429 where it may be answered."""
    app.state.limits = Limits(settings)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        known = app.openapi_schema is not None
        document = generate()
        if not known:
            _declare(app, document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


@asynccontextmanager
async def limits_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have the counters connected while the application runs."""
    limits: Limits = app.state.limits
    if not limits.settings.rate_limit_enabled:
        yield
        return
    await limits.storage.open()
    try:
        yield
    finally:
        await limits.storage.close()


def warn_of_workers(workers: int, settings: Settings) -> None:
    """Say that each process counts for itself, where it does."""
    if workers > 1 and settings.rate_limit_enabled and not is_shared(settings):
        SERVER.warning(
            "WORKERS=%s, and each process counts for itself: a limit of 10 lets up to"
            " %s through",
            workers,
            10 * workers,
        )


def _declare(app: FastAPI, document: dict[str, Any]) -> None:
    answer = {str(k): v for k, v in problems(TooManyRequests).items()}
    for path, route in walk(app.routes):
        if not _is_limited(route.dependant):
            continue
        operations = document["paths"].get(path, {})
        for method in route.methods or ():
            if operation := operations.get(method.lower()):
                operation["responses"] = answer | operation["responses"]


def _is_limited(dependant: Dependant | None) -> bool:
    return dependant is not None and any(
        isinstance(node.call, RateLimit | RouteLimit) for node in _nodes(dependant)
    )


def _nodes(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _nodes(each)
