"""How often somebody may do something, and what guessing a password costs.

`Depends(RateLimit("10/minute"))` on a route of yours. The others are for the routes of
`app/resources`: their limits are settings, RATE_LIMIT_….
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext
from starlette.routing import Mount

from app.config import Settings
from app.errors import StartupError, TooManyRequests
from app.limits.counting import Limits
from app.limits.rate import (
    KeysLimit,
    LoginLimit,
    PasswordLimit,
    RateLimit,
    RefreshLimit,
    RegisterLimit,
    RouteLimit,
)
from app.limits.storage import is_shared
from app.logs import SERVER
from app.managers.auth import AuthManager
from app.openapi import problems
from app.resources.dependencies import walk

__all__ = [
    "KeysLimit",
    "LoginLimit",
    "PasswordLimit",
    "RateLimit",
    "RefreshLimit",
    "RegisterLimit",
    "install_limits",
    "limits_lifespan",
    "warn_of_workers",
]


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
    _check_order(app)
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


def _check_order(app: FastAPI) -> None:
    """Raise StartupError where a limit for each user comes before who the user is."""
    for path, route in walk(app.routes):
        for call in _calls_of(route):
            if isinstance(call, AuthManager):
                break
            if isinstance(call, RateLimit) and call.by == "principal":
                raise StartupError(
                    f'{path} has a RateLimit(by="principal") that cannot know who asks.'
                    " Put an AuthManager before it, into the route's `dependencies`."
                )


def _declare(app: FastAPI, document: dict[str, Any]) -> None:
    answer = {str(k): v for k, v in problems(TooManyRequests).items()}
    for path, route in walk(app.routes):
        calls = _calls_of(route)
        if any(isinstance(call, RateLimit | RouteLimit) for call in calls):
            for method in route.methods or ():
                operation = document["paths"].get(path, {}).get(method.lower())
                if operation is not None:
                    operation["responses"].update(answer)


def _calls_of(route: RouteContext) -> Iterator[object]:
    """Yield a route's dependencies in the order in which they run; a mount has none."""
    if not isinstance(route.original_route, Mount):
        yield from _calls(route.dependant)


def _calls(dependant: Dependant) -> Iterator[object]:
    for child in dependant.dependencies:
        yield from _calls(child)
        yield child.call
