"""`@cached`: a route's response, or a function's value, kept until it changes."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from app.cache.engine import values
from app.cache.engine.policy import (
    CachePolicy,
    Coder,
    decorated,
    policies,
    streaming,
)
from app.cache.keys import default_key_builder
from app.cache.off import is_on

P = ParamSpec("P")
R = TypeVar("R")
_LONGEST = 315_360_000  # seconds: ten years; a server refuses a time that is too long


def cached(
    expire: int | None = None,
    namespace: str = "",
    key_builder: Callable[..., Any] | None = None,
    coder: type[Coder] | None = None,
    *,
    vary: Collection[str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Cache what a route answers, or what any other function returns.

    Put it right below the route's decorator. `expire` is in seconds (CACHE_DEFAULT_TTL
    when None); `namespace` begins the key, and may name parameters of the function, as
    in "products:{product_id}"; `key_builder` makes the key, by default one for each
    principal; `coder` stores the handler's value by a fastapi-cache2 coder in place of
    the response's bytes.

    Two requests share an answer only if they agree on all that it was made from: the
    parameters, who asks where the handler is told, and, where anybody takes the raw
    request, on all of it that may matter. `vary` names the request's headers instead:
    more of them, as for what a middleware puts into a context variable, or fewer.

    With CACHE_ENABLED=false the function itself is returned. Raises ValueError for an
    `expire` below one second, and for a namespace that is no text or names what is no
    parameter.
    """
    if expire is not None and expire < 1:
        raise ValueError(f"expire={expire}: an entry lives for at least one second")
    if not isinstance(namespace, str):
        raise ValueError(
            f"namespace={namespace!r} is no text. The order is expire, namespace, "
            "key_builder, coder; fastapi-cache2's is another: name the arguments."
        )
    if isinstance(vary, str):
        raise ValueError(f"vary={vary!r}: a list of headers, as in vary=[{vary!r}]")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        it: Any = function
        if isinstance(it, staticmethod | classmethod):
            raise ValueError("@cached has to stand below @staticmethod or @classmethod")
        if not inspect.isroutine(it):
            raise ValueError(f"@cached on {it!r}: write a `def` that calls it")
        if not is_on():
            return function
        if inspect.isasyncgenfunction(it) or inspect.isgeneratorfunction(it):
            streaming.add(function)  # what it yields is never cached
            return function
        builder = key_builder or default_key_builder
        ttl = expire and min(expire, _LONGEST)
        policy = CachePolicy(function, ttl, namespace, builder, coder, vary)
        return _wrapped(function, policy)

    return decorate


def _wrapped(function: Callable[P, R], policy: CachePolicy) -> Callable[P, R]:
    @wraps(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        return await values.call(policy, args, kwargs)

    @wraps(function)
    def run_sync(*args: Any, **kwargs: Any) -> Any:
        return values.call_sync(policy, args, kwargs)

    wrapper: Any = run_async if inspect.iscoroutinefunction(function) else run_sync
    wrapper.__cache_policy__ = policy
    policy.wrapper = wrapper
    decorated.add(function)
    policies.add(policy)
    return cast("Callable[P, R]", wrapper)
