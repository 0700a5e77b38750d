"""A short, stable digest of the parameters that a response depends on."""

import dataclasses
import json
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from pathlib import PurePath
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, SecretBytes, SecretStr

from app.cache.engine import running
from app.cache.exchange import headers_of
from app.cache.policy import cache_policy

# What JSON says as it is; the subclasses of these, such as enums, are told apart.
_PLAIN = frozenset({str, int, float, bool})
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Unstable(Exception):
    """A value that says nothing about itself that would be the same tomorrow."""


_STABLE = (
    *(str, int, float, bytes, Enum, datetime, date, time, UUID, Decimal, timedelta),
    *(PurePath, SecretStr, SecretBytes, BaseModel, list, tuple, set, frozenset, dict),
)


def parameters_of(
    request: Request | None,
    kwargs: Mapping[str, Any],
    named: Collection[str] = (),
) -> str:
    """Return the digest of a call's parameters, "" when there are none.

    Declared parameters count as they were parsed, so `05` and `5` are one; those of
    the query that the route does not declare count as they were sent, in any order,
    and so do the headers and cookies that a dependency of the route declares.
    Injected objects (a session, a client) are no parameters; nor are those that the
    key has `named` already.
    """
    found: dict[str, Any] = {}
    for name, value in kwargs.items():
        kind: Any = type(value)
        if value is None or _is_tool(kind):
            continue
        try:
            found[name] = stable(value)
        except Unstable:
            continue
    if request is not None:
        taken = {*found, *named}
        if request.scope["query_string"]:
            for name, text in request.query_params.multi_items():
                if name not in taken:
                    found.setdefault(f"?{name}", []).append(text)
        for name, value in request.path_params.items():
            if name not in taken:
                found[f"/{name}"] = str(value)
        policy = cache_policy(request.scope.get("endpoint"))
        for name in policy.headers if policy else ():
            if sent := headers_of(request).getlist(name.lower()):
                found[f"{name}:"] = sent
        for name in policy.cookies if policy else ():
            if name in request.cookies:
                found[f"{name}="] = request.cookies[name]
    return digest(found) if found else ""


def digest(value: object) -> str:
    """Return 96 bits of a keyed digest of a JSON value: it may be a secret."""
    engine = running()
    return blake2b(
        _encode(value).encode("ascii"),
        key=engine.secret if engine else b"",
        digest_size=12,
    ).hexdigest()


def stable(value: Any) -> Any:
    """Return a JSON value that is equal for equal values; Unstable when none is."""
    if type(value) in _PLAIN:
        return value
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return [type(value).__qualname__, value.name]
        case bytes():
            return ["bytes", value.hex()]
        case datetime() | date() | time():
            return [type(value).__name__, value.isoformat()]
        case UUID() | Decimal() | timedelta() | PurePath():
            return [type(value).__name__, str(value)]
        case SecretStr() | SecretBytes():
            return ["secret", stable(value.get_secret_value())]
        case BaseModel():
            return [type(value).__qualname__, stable(dict(value))]
        case list() | tuple():
            return [stable(item) for item in value]
        case set() | frozenset():
            return ["set", sorted(json.dumps(stable(item)) for item in value)]
        case dict():
            return [
                "dict",
                sorted([str(key), stable(item)] for key, item in value.items()),
            ]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return [
            type(value).__qualname__,
            [stable(getattr(value, f.name)) for f in fields],
        ]
    raise Unstable(type(value).__qualname__)


@lru_cache(maxsize=1024)
def _is_tool(kind: type[object]) -> bool:
    """Tell whether no value of this type is stable: it is a session, a client, …"""
    return not (issubclass(kind, _STABLE) or dataclasses.is_dataclass(kind))
