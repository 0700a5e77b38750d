"""How a function is cached, as its `@cached` says, and what tells its calls apart.

That is what its code and the values it is given are, as JSON that is the same for equal
ones, in each process; a key has a digest of it.
"""

import dataclasses
import inspect
import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any, Literal, Protocol
from uuid import UUID
from weakref import WeakSet

from fastapi import Request, Response
from pydantic import BaseModel, SecretBytes, SecretStr

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
        named = {name: kwargs[name] for name in self.named & kwargs.keys()}
        tools = Request | Response  # fastapi-cache2 leaves them out, too
        kwargs = {n: v for n, v in kwargs.items() if not isinstance(v, tools)}
        if request is not None and not self.keys_all:
            request = _copied(request)
        try:
            filled = {name: segment(value) for name, value in named.items()}
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


# What JSON says as it is; the subclasses of these, such as enums, are told apart.
_PLAIN = frozenset({str, int, float, bool})
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Unstable(Exception):
    """A value that says nothing about itself that would be the same tomorrow."""


def digest(value: object, secret: bytes) -> str:
    """Return 96 bits of a keyed digest of a JSON value: it may be a secret."""
    text = _encode(value).encode("ascii")
    return blake2b(text, key=secret, digest_size=12).hexdigest()


def stable_items(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that are stable; the others are tools, or derived."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = stable(value)
        except Unstable:
            continue
    return found


def stable(value: Any) -> Any:
    """Return a JSON value that is equal for equal values; Unstable when none is."""
    try:
        return _stable(value)
    except Unstable:
        raise
    except Exception as error:  # whatever its attributes raise, or it holds itself
        raise Unstable(type(value).__qualname__) from error


_NAMED = type | FunctionType | BuiltinFunctionType
_MANY = (dict, list, tuple, set, frozenset)
_MOST_INSIDE = 500  # items to look into, on the event loop, for each request


def outline(value: Any, depth: int = 2, *, public: bool = False) -> dict[str, Any]:
    """Return what kind a thing is of, its stable parts, and those of what it holds.

    Of one that lives longer than a request, only the `public` ones: others may count.
    Unstable for one that cannot be looked into, or has too much in it for each request.
    """
    try:
        return _outline(value, depth, public=public)
    except Unstable:
        raise
    except Exception as error:  # as of a proxy of what is gone
        raise Unstable(type(value).__qualname__) from error


def _outline(value: Any, depth: int, *, public: bool) -> dict[str, Any]:
    named = value if isinstance(value, _NAMED) else type(value)
    found: dict[str, Any] = {"": [named.__module__, named.__qualname__]}
    for name, held in _parts(value).items():
        if name == "_sa_instance_state" or (public and name.startswith("_")):
            continue
        try:
            found[name] = stable(held)
        except Unstable:
            if depth > 1 and not isinstance(held, type):
                found[name] = outline(held, depth - 1, public=public)
    return found


def _parts(value: Any) -> dict[str, Any]:
    """Return what a thing is made of: its attributes, and what is inside."""
    state = object.__getstate__(value)  # with slots, a pair
    slots = state[1] if isinstance(state, tuple) else {}
    inside = {f"[{n}]": held for n, held in enumerate(_inside(value))}
    return {**getattr(value, "__dict__", {}), **slots, **inside}


def _inside(value: Any) -> Collection[Any]:
    """Return the items of a thing, or what a call of it is given."""
    if isinstance(value, _MANY) and len(value) > _MOST_INSIDE:
        kind = type(value).__qualname__
        raise Unstable(f"a {kind} of more than {_MOST_INSIDE} items")
    match value:
        case dict():
            return [*value, *value.values()]
        case list() | tuple() | set() | frozenset():
            return value
        case partial():
            return value.func, value.args, value.keywords
        case MethodType():
            return value.__func__, value.__self__
        case BuiltinFunctionType() if not isinstance(value.__self__, ModuleType):
            return (value.__self__,)
        case FunctionType():
            filled = [c for c in value.__closure__ or () if c != CellType()]
            defaults = value.__defaults__, value.__kwdefaults__
            held = [cell.cell_contents for cell in filled]
            return [*held, _read(value.__code__), defaults]
    return ()


def _stable(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    more = getattr(value, "__dict__", None)
    if isinstance(value, BaseModel):
        parts = more, value.__pydantic_extra__, value.__pydantic_private__
        held: Any = [*map(_stable, parts), sorted(value.model_fields_set)]
    elif more is not None and "_sa_instance_state" in more:
        raise Unstable(kind.__qualname__)  # a row, which may ask the database for more
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = {field.name for field in dataclasses.fields(value)} | {*(more or ())}
        held = {n: _stable(getattr(value, n)) for n in names if hasattr(value, n)}
    else:
        held = _held(value)
        if more and not isinstance(value, dict | Enum | type):
            held = [held, _stable(more)]
    return [kind.__module__, kind.__qualname__, held]


def _held(value: Any) -> Any:
    match value:
        case Enum():
            return value.name
        case bytes():
            return value.hex()
        case datetime() | time():
            zone = value.tzinfo
            about = type(zone).__qualname__, str(zone), value.fold
            return [value.isoformat(), *about]
        case date():
            return value.isoformat()
        case UUID() | Decimal() | timedelta() | PurePath():
            return str(value)
        case SecretStr() | SecretBytes():
            return _stable(value.get_secret_value())
        case list() | tuple():
            return [_stable(item) for item in value]
        case set() | frozenset():
            return sorted(_encode(_stable(item)) for item in value)
        case dict():
            return [[_stable(key), _stable(item)] for key, item in value.items()]
        case None | int() | float() | str():
            return repr(value)
    raise Unstable(type(value).__qualname__)
