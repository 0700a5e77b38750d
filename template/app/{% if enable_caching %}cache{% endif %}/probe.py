"""Finding out under which key the service caches its answer to a request."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

import httpx
from fastapi import FastAPI, Request
from fastapi.routing import iter_route_contexts

from app.cache import cache_lifespan
from app.cache.keys import KeyBuilder
from app.cache.policy import CachePolicy, cache_policy
from app.commands.accounts import find_user
from app.commands.refusals import Refused
from app.commands.routes import find_guard
from app.config import Settings
from app.database import Database
from app.main import create_app
from app.managers.auth import AuthManager
from app.managers.principal import Principal, principal_of
from app.managers.scopes import role_scopes
from app.models.user import User


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a cached route."""

    path: str
    policy: CachePolicy
    key: str


async def find_call(settings: Settings, url: str, who: str | None) -> Call:
    """Send a GET through the service, as `who`, and return how it would be cached.

    `only-if-cached` keeps the handler from being run. Raises Refused when the request
    does not get to a cached route.
    """
    app = create_app(settings.model_copy(update={"log_categories": frozenset()}))
    calls: list[Call] = []
    try:
        principal = await _principal(app.state.database, who) if who else None
        for route in iter_route_contexts(app.routes):
            policy = cache_policy(route.endpoint) if route.endpoint else None
            if policy is not None:
                _record(policy, route.path or "", calls)
                guard = find_guard(route.dependant)
                if guard is not None and principal is not None:
                    app.dependency_overrides[guard] = _as(principal, guard)
        async with cache_lifespan(app, settings):
            response = await _get(app, url)
    finally:
        await app.state.database.dispose()
    if calls:
        return calls[0]
    if response.status_code in (401, 403):
        raise Refused(
            f"GET {url} answers {response.status_code} to this caller, before the "
            "cache is asked. Name another one with --user."
        )
    raise Refused(
        f"GET {url} gets to no cached route (it answers {response.status_code}); see "
        "them with: api-admin routes"
    )


async def _get(app: FastAPI, url: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost"
    ) as client:
        return await client.get(url, headers={"Cache-Control": "only-if-cached"})


async def _principal(database: Database, who: str) -> Principal:
    async with database.session(writes=False) as session:
        user = await find_user(session, who)
    return principal_of(user, role_scopes(user.role))


def _record(policy: CachePolicy, path: str, calls: list[Call]) -> None:
    build = policy.key_builder

    @wraps(build)
    async def builder(*args: Any, **kwargs: Any) -> str:
        key: object = build(*args, **kwargs)
        text = str(await key if inspect.isawaitable(key) else key)
        calls.append(Call(path, policy, text))
        return text

    policy.key_builder = cast("KeyBuilder", builder)


def _as(principal: Principal, guard: AuthManager) -> Callable[[Request], User]:
    def authenticated(request: Request) -> User:
        guard.authorize(principal, request)
        request.state.principal = principal
        return principal.as_user()

    return authenticated
