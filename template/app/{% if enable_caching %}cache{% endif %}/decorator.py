"""`@cached`: a route's response, or a function's value, kept until it changes."""

import asyncio
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from anyio import from_thread
from fastapi import Request
from fastapi_cache.coder import Coder

from app.cache import responses, values
from app.cache.attempt import Attempt
from app.cache.keys import KeyBuilder, default_key_builder
from app.cache.policy import CachePolicy
from app.cache.switch import is_on
from app.cache.waiting import in_thread

P = ParamSpec("P")
R = TypeVar("R")

_INJECTED = "cached_request"


def cached(
    expire: int | None = None,
    namespace: str = "",
    key_builder: Callable[..., Any] | None = None,
    coder: type[Coder] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Cache what a route answers, or what any other function returns.

    Put it *below* the route's decorator. `expire` is in seconds (CACHE_DEFAULT_TTL
    when None); `namespace` begins the key; `key_builder` makes the key, by default one
    for each principal and each set of parameters; `coder` stores the handler's value
    by a fastapi-cache2 coder instead of the response's bytes.

    With CACHE_ENABLED=false the function itself is returned. Raises ValueError for an
    `expire` below one second.
    """
    if expire is not None and expire < 1:
        raise ValueError(f"expire={expire}: an entry lives for at least one second")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not is_on():
            return function
        builder = cast("KeyBuilder", key_builder or default_key_builder)
        policy = CachePolicy(function, expire, namespace, builder, coder)
        return _wrapped(function, policy)

    return decorate


def _wrapped(function: Callable[P, R], policy: CachePolicy) -> Callable[P, R]:
    signature = inspect.signature(function)
    own = _request_parameter(function)

    async def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Attempt:
        request = kwargs.get(own) if own else kwargs.pop(_INJECTED, None)
        if request is not None and _serves(request, wrapper):
            return await responses.begin(policy, request, kwargs)
        return await values.begin(policy, request, args, kwargs)

    async def begin_for_thread(
        args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Attempt:
        in_thread.set(True)
        return await begin(args, kwargs)

    @wraps(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        attempt = await begin(args, kwargs)
        if attempt.found:
            return attempt.value
        try:
            result = await cast("Any", function)(*args, **kwargs)
        except BaseException as error:
            await attempt.fail(cancelled=isinstance(error, asyncio.CancelledError))
            raise
        return await attempt.finish(result)

    @wraps(function)
    def run_sync(*args: Any, **kwargs: Any) -> Any:
        if not _in_worker_thread():  # the event loop must not be kept waiting
            kwargs.pop(_INJECTED, None)
            return function(*args, **kwargs)
        attempt = from_thread.run(begin_for_thread, args, kwargs)
        if attempt.found:
            return attempt.value
        try:
            result = function(*args, **kwargs)
        except BaseException:
            from_thread.run(_failed, attempt)
            raise
        return from_thread.run(attempt.finish, result)

    wrapper = run_async if inspect.iscoroutinefunction(function) else run_sync
    if own is None:
        vars(wrapper)["__signature__"] = _with_request(signature)
    vars(wrapper)["__cache_policy__"] = policy
    policy.wrapper = wrapper
    return cast("Callable[P, R]", wrapper)


async def _failed(attempt: Attempt) -> None:
    await attempt.fail(cancelled=False)


def _serves(request: Request, wrapper: Callable[..., Any]) -> bool:
    """Tell a route's call from that of a function that is handed a request."""
    endpoint = request.scope.get("endpoint")
    while endpoint is not None and endpoint is not wrapper:
        endpoint = getattr(endpoint, "__wrapped__", None)
    return endpoint is wrapper


def _request_parameter(function: Callable[..., Any]) -> str | None:
    """Return the name of the parameter that takes the request."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except NameError:  # a name that exists for type checkers only
        parameters = inspect.signature(function).parameters
    for name, parameter in parameters.items():
        if parameter.annotation in (Request, "Request"):
            return name
    return None


def _with_request(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature with a parameter by which FastAPI hands us the request."""
    injected = inspect.Parameter(
        _INJECTED, inspect.Parameter.KEYWORD_ONLY, annotation=Request
    )
    parameters = list(signature.parameters.values())
    last = parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    parameters.insert(len(parameters) - bool(last), injected)
    return signature.replace(parameters=parameters)


def _in_worker_thread() -> bool:
    try:
        from_thread.check_cancelled()
    except RuntimeError:
        return False
    return True
