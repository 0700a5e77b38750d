"""Asking the service in this process, as any user: for commands that look into it."""

from collections.abc import Callable, Iterator

import httpx
from fastapi import FastAPI, Request
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.types import ASGIApp

from app.cache.policy import CachePolicy, cache_policy
from app.commands.accounts import find_user
from app.commands.routes import guards
from app.config import Settings
from app.main import create_app
from app.managers.auth import AuthManager
from app.managers.principal import Principal, principal_of
from app.managers.scopes import role_scopes
from app.models.user import User


def quiet_app(settings: Settings) -> FastAPI:
    """Return a service that logs nothing but warnings. It has not started."""
    return create_app(settings.model_copy(update={"log_categories": frozenset()}))


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client whose requests the app answers in this process."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    )


def cached_routes(app: FastAPI) -> Iterator[tuple[RouteContext, CachePolicy]]:
    """Yield the routes that are cached, in the order in which they match."""
    for route in iter_route_contexts(app.routes):
        policy = cache_policy(route.endpoint)
        if policy is not None:
            yield route, policy


async def act_as(app: FastAPI, who: str) -> None:
    """Take each request to a cached route for one of this user (id or e-mail).

    The user needs no credentials, but does need the rights that a route asks for.
    Raises Refused when there is no such user.
    """
    async with app.state.database.session(writes=False) as session:
        user = await find_user(session, who)
    principal = principal_of(user, role_scopes(user.role))
    for route, _ in cached_routes(app):
        for guard in guards(route.dependant):
            app.dependency_overrides[guard] = _as(principal, guard)


def _as(principal: Principal, guard: AuthManager) -> Callable[[Request], User]:
    def authenticated(request: Request) -> User:
        guard.authorize(principal, request)
        request.state.principal = principal
        return principal.as_user()

    return authenticated
