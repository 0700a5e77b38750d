"""How a function is cached, as its `@cached` says."""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from types import CodeType
from typing import Any, Literal, Protocol
from weakref import WeakSet

from fastapi import Request, Response

from app.cache.engine.cache import TablesRead
from app.cache.engine.entry import names_in, segment

log = logging.getLogger("app.cache")

Function = Callable[..., Any]


class KeyFailed(Exception):
    """An own key builder raised; the message says what kind of exception."""


class Coder(Protocol):
    """How a value is stored: what fastapi-cache2 calls a coder."""

    @classmethod
    def encode(cls, value: Any) -> bytes: ...
    @classmethod
    def decode(cls, value: bytes) -> Any: ...


# The key builders of app.cache, with whose keys they build: those of who asks, of the
# user whose data it is, or everybody's.
built_in: dict[Function, Literal["asker", "user", "everybody"]] = {}
# The functions that @cached wrapped: a route whose endpoint is one of these was made
# from the function before it was wrapped.
decorated: WeakSet[Function] = WeakSet()
policies: WeakSet["CachePolicy"] = WeakSet()
# Those that it left alone because they stream by `yield`.
streaming: WeakSet[Function] = WeakSet()


@dataclass(slots=True, weakref_slot=True, eq=False)
class CachePolicy:
    """What `@cached` was told; `expire` is in seconds, None for CACHE_DEFAULT_TTL.

    `vary` names the request headers, beside declared ones, that the answer depends on;
    None: all that the handler or a dependency may have looked at. `wrapper` is the
    function as it is cached.
    """

    function: Function
    expire: int | None
    namespace: str
    key_builder: Function
    coder: type[Coder] | None
    vary: Collection[str] | None = None
    wrapper: Function | None = None
    reasons: set[str] = field(default_factory=set)  # why something was not cached
    tables: TablesRead = field(default_factory=TablesRead)
    named: set[str] = field(init=False)  # the parameters that the namespace names
    code: list[Any] = field(init=False)  # what another release may have changed

    def __post_init__(self) -> None:
        """Raise ValueError for a namespace that names what is no parameter."""
        self.code = code_of(self.function)
        self.named = names_in(self.namespace)
        known = inspect.signature(self.function).parameters if self.named else {}
        for name in self.named - known.keys():
            nearest = get_close_matches(name, known, 1, cutoff=0.0)
            meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(
                f"@cached(namespace={self.namespace!r}): {self.name} has no parameter "
                f"{name!r}{meant}"
            )

    @property
    def name(self) -> str:
        """The function's name, as messages show it."""
        it: Any = self.function
        name = getattr(it, "__qualname__", type(it).__qualname__)
        return f"{getattr(it, '__module__', type(it).__module__)}.{name}"

    @property
    def names_who_asks(self) -> bool:
        """Whether the key itself says who asks."""
        return built_in.get(self.key_builder) == "asker"

    @property
    def keys_all(self) -> bool:
        """Whether what the key does not name has to be told apart, too."""
        return self.key_builder in built_in

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
        """Return the key of a call. Raises KeyFailed where its builder raises."""
        filled = {name: segment(kwargs[name]) for name in self.named}
        tools = Request | Response  # fastapi-cache2 leaves them out, too
        kwargs = {n: v for n, v in kwargs.items() if not isinstance(v, tools)}
        if request is not None and not self.keys_all:
            request = _copied(request)
        try:
            key: object = self.key_builder(
                self.function,
                self.namespace.format(**filled),
                request=request,
                response=None,
                args=args,
                kwargs=kwargs,
            )
            if inspect.isawaitable(key):
                key = await key
            return key if type(key) is str else str(key)
        except Exception as error:  # without a cache, nobody would call it
            raise KeyFailed(f"its key builder raised {type(error).__name__}") from error

    def say(self, reason: str) -> None:
        """Say once why something is not cached, and how to mend it."""
        if reason not in self.reasons:
            self.reasons.add(reason)
            log.warning("%s is not cached: %s", self.name, reason)


def _copied(request: Request) -> Request:
    """Return it anew: what an own key builder reads or sets there is for itself."""
    scope = request.scope
    state: Any = scope.get("state", {})
    headers = [(bytes(name), value) for name, value in scope["headers"]]
    plain = {"headers": headers, "state": {**getattr(state, "first", state)}}
    return Request({**scope, **plain}, request.receive)


def cache_policy(endpoint: Function | None) -> CachePolicy | None:
    """Return how an endpoint is cached, None when it is not."""
    found = getattr(endpoint, "__cache_policy__", None)
    return found if isinstance(found, CachePolicy) else None


@lru_cache(maxsize=4096)
def code_of(function: Function) -> list[Any]:
    """Return what a function, and what it wraps, is made of; the same in processes."""
    code = getattr(function, "__code__", None)
    inner = getattr(function, "__wrapped__", None)
    return [code and _read(code), inner and code_of(inner)]


def _read(code: CodeType) -> list[Any]:
    consts = [
        _read(each)
        if isinstance(each, CodeType)
        else sorted(map(repr, each))
        if isinstance(each, frozenset)
        else repr(each)
        for each in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, consts]
