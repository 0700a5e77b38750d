"""What an answer may depend on, as a short, stable digest."""

import dataclasses
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from pathlib import PurePath
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, SecretBytes, SecretStr
from starlette.types import Scope

from app.cache.engine.exchange import SCOPE_KEY, Exchange, exchange_of
from app.cache.engine.http import CREDENTIALS, rarely_counts

# What JSON says as it is; the subclasses of these, such as enums, are told apart.
_PLAIN = frozenset({str, int, float, bool})
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

# What of a scope is told apart elsewhere, or says nothing of who asks for what.
_OF_EVERY_SCOPE = {
    *("type", "asgi", "http_version", "method", "scheme", "path", "root_path"),
    *("query_string", "headers", "client", "server", "state", SCOPE_KEY),
    *("app", "app_root_path", "router", "route", "endpoint", "path_params"),
    *("fastapi", "fastapi.telemetry", "fastapi_middleware_astack"),
    *("fastapi_inner_astack", "fastapi_function_astack"),
    "fastapi_async_cleanup_scopes",
}


class Unstable(Exception):
    """A value that says nothing about itself that would be the same tomorrow."""


def digest(value: object, secret: bytes) -> str:
    """Return 96 bits of a keyed digest of a JSON value: it may be a secret."""
    text = _encode(value).encode("ascii")
    return blake2b(text, key=secret, digest_size=12).hexdigest()


def identity_of(request: Request | None) -> str:
    """Return who asks, as a segment of a key.

    The principal that the route's dependencies resolved; where they resolved none but
    the request carries credentials, a keyed digest of those; else "public".
    """
    exchange = exchange_of(request)
    if request is None or exchange is None:
        return "public"
    state: Any = request.scope.get("state", {})
    principal = getattr(state, "first", state).get("principal")  # it is no read
    secret = exchange.cache.secret
    # One of the owner's own kind is a state like any other.
    if hasattr(principal, "user_id") and hasattr(principal, "scopes"):
        scopes = digest(sorted(principal.scopes), secret)
        return f"user-{principal.user_id}-{scopes}"
    shown = [exchange.headers.getlist(name) for name in CREDENTIALS]
    return f"credentials-{digest(shown, secret)}" if any(shown) else "public"


def raw_request(
    request: Request, exchange: Exchange, *, headers_too: bool = True
) -> list[Any]:
    """Return all of a request that a handler can look at and that may matter.

    Raises Unstable when a middleware put into the scope what cannot be told apart.
    """
    scope = request.scope
    never = exchange.never_count
    headers = {
        name: lines
        for name, lines in exchange.headers.lines.items()
        if headers_too and name not in never and not rarely_counts(name)
    }
    client = scope.get("client") or [""]
    address = [scope.get("scheme"), scope["path"], client[0], scope.get("http_version")]
    if "host" not in exchange.headers:
        address.append(str(scope.get("server")))
    more_of_scope = {n: _plain(f'scope["{n}"]', scope[n]) for n in by_middleware(scope)}
    return [headers, address, scope["query_string"].decode("latin-1"), more_of_scope]


def by_middleware(scope: Scope) -> list[str]:
    """Return what of a scope a middleware has put there."""
    return [
        name
        for name in sorted(scope.keys() - _OF_EVERY_SCOPE)
        if not name.startswith("starlette.")
    ]


def put_by_run(scope: Scope, exchange: Exchange) -> list[Any]:
    """Return what differs after a run that has changed a session, or the state.

    Or has added a task for afterwards, which may be by what a dependency made, or has
    asked for the request's body.
    """
    tasks = len(exchange.tasks.tasks)
    found: list[Any] = [exchange.state.writes, tasks, exchange.received]
    for name in by_middleware(scope):
        try:
            found.append([name, _plain(name, scope[name])])
        except Unstable:
            found.append(name)
    return found


def looked_at(exchange: Exchange) -> set[str]:
    """Return the names of what was looked at and is not in each key; "*": all headers.

    A state is called "state.name".
    """
    return exchange.sought | {f"state.{name}" for name in exchange.state.read}


def read_by_name(names: Collection[str], exchange: Exchange) -> dict[str, Any]:
    """Return headers and states by the names that `looked_at` gives them.

    Raises Unstable for a state that cannot be told apart.
    """
    found: dict[str, Any] = {}
    for name in sorted(names):
        if name.startswith("state."):
            found[name] = _state(name.removeprefix("state."), exchange)
        elif name == "*":
            lines = exchange.headers.lines
            found[name] = {n: lines[n] for n in lines.keys() - exchange.never_count}
        else:
            found[name] = exchange.headers.getlist(name)
    return found


def _state(name: str, exchange: Exchange) -> Any:
    state = exchange.state
    value = state.first.get(name)
    try:
        return _plain(f"state.{name}", value)
    except Unstable:
        if name in state.of_middleware:
            raise
    return outline(value)  # what a dependency made is a tool, or derived


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


def outline(value: Any, depth: int = 2, *, public: bool = False) -> dict[str, Any]:
    """Return the attributes of an object that are stable, and of what it holds.

    Of one that lives longer than a request, only the `public` ones: others may count.
    """
    found: dict[str, Any] = {}
    for name, held in getattr(value, "__dict__", {}).items():
        if name == "_sa_instance_state" or (public and name.startswith("_")):
            continue
        try:
            found[name] = stable(held)
        except Unstable:
            if depth > 1 and not callable(held):
                found[name] = outline(held, depth - 1, public=public)
    return found


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


def _plain(name: str, value: Any) -> Any:
    """Return what an object holds that a middleware put into the scope or the state."""
    with suppress(Unstable):
        return stable(value)
    with suppress(Unstable):
        if hasattr(value, "__dict__") and not callable(value):
            return [type(value).__qualname__, stable(object.__getstate__(value))]
    raise Unstable(name)
