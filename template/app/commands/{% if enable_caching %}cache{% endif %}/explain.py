"""Under which key an answer is cached, and why it would or would not be a hit.

The request goes through the service itself, as far as the handler, which is not run.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from fastapi import FastAPI, HTTPException

from app.cache.engine.cache import Cache, Lookup, Wanted
from app.cache.engine.exchange import SCOPE_KEY, Exchange
from app.cache.engine.providers import sight_of
from app.cache.engine.stored import looked_up
from app.commands.cache.caller import cached_routes, quiet_app, route_of, started
from app.commands.refusals import Refused
from app.config import Settings

_OF_THIS_REQUEST = (
    " for just this request: the route takes the raw request, so those of others have"
    " entries of their own"
)
_NOT_RUN = 504  # RFC 9111 5.2.1.7: what only-if-cached is answered without an entry


async def explained(
    settings: Settings,
    url: str,
    headers: Mapping[str, str],
    who: str | None,
    *,
    looks: bool,
) -> dict[str, Any]:
    """Send a GET through the service as `who`, and return what there is to say of it.

    With `looks`, also of what is stored; else where that would be. Raises Refused when
    the request does not get to the handler of a cached route.
    """
    app = quiet_app(settings)
    raw = [
        each.policy
        for each in cached_routes(app)
        if sight_of(each.route.dependant).raw and each.policy.vary is None
    ]
    with _handlers_left_out(app) as reached:
        async with started(app, who, headers) as client:
            cache: Cache = app.state.response_cache.cache
            asked = _lookups(cache)
            answer = await client.get(url, {"cache-control": "only-if-cached"})
            cached, exchange = route_of(app, answer.scope), answer.scope.get(SCOPE_KEY)
            if cached is None or not isinstance(exchange, Exchange):
                raise Refused(
                    f"GET {url} gets to no cached route (it answers {answer.status}); "
                    "see them with: api-admin routes"
                )
            if exchange.outcome is None and not reached:
                raise Refused(
                    f"GET {url} answers {answer.status} to this caller, before the "
                    "cache is asked. Name another one with --user, or a header that "
                    "it lacks with --header."
                )
            shown: dict[str, Any] = {
                "route": f"GET {cached.path}",
                "cached by": cached.policy.key_builder_name,
            }
            if exchange.outcome in (None, "BYPASS"):
                return {
                    **shown,
                    "verdict": f"not cached: {cached.reasons}",
                    "Cache-Status": "; ".join(exchange.status),
                }
            key, place = asked[-1]  # the handler's is the last that is looked up
            shown["key"] = key
            inherited = [*exchange.reading.versions]
            if not looks:
                return {**shown, "place": place, "inherited": inherited}
            if cache.store.fallback:
                raise Refused(
                    "The cache does not work now; see: api-admin cache status"
                )
            hit = answer.status != _NOT_RUN
            shown |= await looked_up(cache, key, place, inherited, hit=hit)
            if not hit and any(cached.policy is each for each in raw):
                shown["verdict"] += _OF_THIS_REQUEST
            return shown


def _lookups(cache: Cache) -> list[tuple[str, str]]:
    """Return a list that gets the key and the place of each lookup to come."""
    asked: list[tuple[str, str]] = []
    look_up = cache.lookup

    async def noted(wanted: Wanted) -> Lookup:
        asked.append((wanted.key, wanted.place()))
        return await look_up(wanted)

    cache.lookup = noted  # type: ignore[method-assign]
    return asked


@contextmanager
def _handlers_left_out(app: FastAPI) -> Iterator[list[str]]:
    """Have nothing run in place of the cached handlers; yield those that were reached.

    Of itself, only-if-cached keeps those from running that are cached in this way.
    """
    reached: list[str] = []
    policies = {id(each.policy): each.policy for each in cached_routes(app)}.values()
    before = [(policy, policy.function) for policy in policies]
    for policy, function in before:
        policy.function = _left_out(function, reached)
    try:
        yield reached
    finally:
        for policy, function in before:
            policy.function = function


def _left_out(function: Callable[..., Any], reached: list[str]) -> Callable[..., Any]:
    @wraps(function)
    def not_run(*_: Any, **__: Any) -> Any:
        reached.append(function.__name__)
        raise HTTPException(_NOT_RUN)

    @wraps(function)
    async def not_run_either(*_: Any, **__: Any) -> Any:
        not_run()

    return not_run_either if inspect.iscoroutinefunction(function) else not_run
