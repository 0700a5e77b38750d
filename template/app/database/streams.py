"""What a route that streams by `yield` must not take: a session that has ended.

FastAPI closes a dependency of scope "function", as `SessionDep` is, before it runs the
generator. A session that is used after its end takes a connection all the same, and
nobody gives it back.
"""

import inspect
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from app.database.session import get_session
from app.errors import StartupError


def check_streams(app: FastAPI) -> None:
    """Raise StartupError for a route that streams and is given such a session."""
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
