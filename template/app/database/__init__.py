"""The database: the tables' base, the engine, and the session of a request."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy.ext.asyncio import AsyncSession

from app.cache import provider
from app.database.base import Base
from app.database.engine import Database
from app.errors import StartupError

__all__ = ["Base", "Database", "SessionDep", "check_streams", "get_session"]

READING = ("GET", "HEAD", "OPTIONS")


@provider
async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield the request's session, which is committed before the response is sent.

    An error rolls it back; what must stay although the request is refused has to be
    committed before the error is raised.
    """
    database: Database = request.app.state.database
    async with database.session(writes=request.method not in READING) as session:
        yield session


# The scope: else FastAPI runs the commit after the response was sent.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]


def check_streams(app: FastAPI) -> None:
    """Raise StartupError for a route that streams by `yield` and is given a session.

    FastAPI closes a dependency of scope "function", as `SessionDep` is, before it runs
    the generator. A session that is used after its end takes a connection all the same,
    and nobody gives it back.
    """
    for route in iter_route_contexts(app.routes):
        endpoint = route.endpoint
        if endpoint is None or not isinstance(route.original_route, APIRoute):
            continue
        if _streams(endpoint) and _is_given_session(route.dependant):
            methods = "/".join(sorted(route.methods or ()))
            raise StartupError(
                f"{methods} {route.path} streams by yield, but its SessionDep ends "
                "before that: open a session inside the generator, with `async with "
                "request.app.state.database.session(writes=False) as session:`."
            )


def _streams(endpoint: Callable[..., Any]) -> bool:
    function = inspect.unwrap(endpoint)
    return any(
        inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)
        for call in (function, type(function).__call__)
    )


def _is_given_session(dependant: Dependant) -> bool:
    """Tell whether the handler has the session, or something that may hold it."""
    if dependant.call is get_session:
        return dependant.scope == "function"
    # One without a name is called, and hands nothing on.
    return any(_is_given_session(d) for d in dependant.dependencies if d.name)
