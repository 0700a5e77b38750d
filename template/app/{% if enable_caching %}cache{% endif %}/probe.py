"""Finding out under which key the service caches its answer to a request."""

import inspect
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from fastapi import Request

from app.cache import cache_lifespan
from app.cache.caller import act_as, cached_routes, client_of, quiet_app
from app.cache.keys import KeyBuilder
from app.cache.place import CachedRoute, route_of
from app.cache.policy import CachePolicy
from app.commands.refusals import Refused
from app.config import Settings


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a cached route."""

    route: CachedRoute
    policy: CachePolicy
    key: str


async def find_call(settings: Settings, url: str, who: str | None) -> Call:
    """Send a GET through the service, as `who`, and return how it would be cached.

    `only-if-cached` keeps the handler from being run. Raises Refused when the request
    does not get to a cached route.
    """
    app = quiet_app(settings)
    calls: list[Call] = []
    try:
        if who:
            await act_as(app, who)
        for policy in {id(each): each for _, each in cached_routes(app)}.values():
            _record(policy, calls)
        async with cache_lifespan(app, settings), client_of(app) as client:
            response = await client.get(
                url, headers={"Cache-Control": "only-if-cached"}
            )
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


def _record(policy: CachePolicy, calls: list[Call]) -> None:
    build = policy.key_builder

    @wraps(build)
    async def builder(*args: Any, **kwargs: Any) -> str:
        key: object = build(*args, **kwargs)
        text = str(await key if inspect.isawaitable(key) else key)
        request: Request | None = kwargs["request"]
        route = route_of(request.scope) if request is not None else None
        if route is not None:
            calls.append(Call(route, policy, text))
        return text

    policy.key_builder = cast("KeyBuilder", builder)
