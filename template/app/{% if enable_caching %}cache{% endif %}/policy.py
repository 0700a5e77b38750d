"""How a function is cached, as its `@cached` says."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from fastapi import Request
from fastapi_cache.coder import Coder

from app.cache.engine import Engine

if TYPE_CHECKING:
    from app.cache.keys import KeyBuilder

# The functions that @cached wrapped: a route whose endpoint is one of these was made
# from the function before it was wrapped.
decorated: WeakSet[Callable[..., Any]] = WeakSet()


@dataclass(slots=True)
class CachePolicy:
    """What `@cached` was told; `expire` is in seconds, None for CACHE_DEFAULT_TTL.

    `fingerprint` tells functions apart, by name and coder; `app.cache.place` has that
    of a route. `wrapper` is what `@cached` made of the function.
    `headers` and `cookies` are the names of those that the route or its dependencies
    declare, known from the start of the application on.
    """

    function: Callable[..., Any]
    expire: int | None
    namespace: str
    key_builder: "KeyBuilder"
    coder: type[Coder] | None
    fingerprint: str = field(init=False)
    wrapper: Callable[..., Any] | None = None
    headers: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        decorated.add(self.function)
        coder = self.coder.__qualname__ if self.coder else ""
        text = "\n".join((self.function.__module__, self.function.__qualname__, coder))
        self.fingerprint = blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def key_builder_name(self) -> str:
        """The key builder's name, as `api-admin routes` shows it."""
        return getattr(self.key_builder, "__name__", type(self.key_builder).__name__)

    async def key(
        self,
        request: Request | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> str:
        """Return the key of a call."""
        key: object = self.key_builder(
            self.function,
            self.namespace,
            request=request,
            response=None,
            args=args,
            kwargs=kwargs,
        )
        if type(key) is str:
            return key
        return str(await key if inspect.isawaitable(key) else key)

    def ttl(self, engine: Engine) -> int:
        """Return how long an entry lives, in seconds."""
        return engine.ttl if self.expire is None else self.expire


def cache_policy(endpoint: Callable[..., Any] | None) -> CachePolicy | None:
    """Return how an endpoint is cached, None when it is not."""
    found = getattr(endpoint, "__cache_policy__", None)
    return found if isinstance(found, CachePolicy) else None
