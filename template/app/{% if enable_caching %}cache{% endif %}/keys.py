"""Key builders: what makes two requests the same request.

Segments of a key are joined by ":", and each whole-segment prefix of it is a
namespace that can be invalidated. Parameters that a key's segments do not name are
added as a digest, so `?a=1` never answers `?a=2`.

A builder is called as fastapi-cache2 calls it: with the function and the namespace,
and with `request`, `response`, `args` and `kwargs` by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

from fastapi import Request, Response

from app.cache.digest import parameters_of
from app.cache.identity import identity_of
from app.cache.namespaces import segment

Function = Callable[..., Any]


class KeyBuilder(Protocol):
    """A function that returns the key of a call."""

    def __call__(
        self,
        func: Function,
        namespace: str = "",
        request: Request | None = None,
        response: Response | None = None,
        *,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class _Call:
    func: Function
    namespace: str
    request: Request | None
    kwargs: Mapping[str, Any]

    def user_id(self) -> object:
        """The user whose data it is: the path's, else the one who asks."""
        given = self.kwargs.get("user_id")
        if given is not None:
            return given
        principal = (
            getattr(self.request.state, "principal", None) if self.request else None
        )
        return identity_of(self.request) if principal is None else principal.user_id

    def page(self) -> tuple[object, ...]:
        """The page's part of a key; paging may be two parameters or one object."""
        for value in (_Named(self.kwargs), *self.kwargs.values()):
            if hasattr(value, "page") and hasattr(value, "size"):
                return ("page", value.page, "size", value.size)
        return ()

    def key(self, *segments: object, without: tuple[str, ...] = ()) -> str:
        """Join the namespace, the segments and the digest of all other parameters."""
        rest = {name: v for name, v in self.kwargs.items() if name not in without}
        parts = [segment(part) for part in segments if part != ""]
        digest = parameters_of(self.request, rest, without)
        return ":".join(part for part in (self.namespace, *parts, digest) if part)


class _Named:
    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        vars(self).update(kwargs)


def _builder(build: Callable[[_Call], str]) -> KeyBuilder:
    @wraps(build)
    def builder(
        func: Function,
        namespace: str = "",
        request: Request | None = None,
        response: Response | None = None,
        *,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        return build(_Call(func, namespace, request, kwargs or {}))

    return builder


@_builder
def default_key_builder(call: _Call) -> str:
    """Key of one principal's request: {namespace}:{function}:{principal}:{digest}."""
    host = call.request.headers.get("host", "") if call.request else ""
    function = f"{call.func.__module__}.{call.func.__qualname__}"
    return call.key(function, host, identity_of(call.request))


@_builder
def user_scoped_key_builder(call: _Call) -> str:
    """Key of one user's request: {namespace}:{user_id}:{func_name}."""
    return call.key(call.user_id(), call.func.__name__, without=("user_id",))


@_builder
def paginated_key_builder(call: _Call) -> str:
    """Key of a page that is the same for all who may ask for it.

    {namespace}:{func_name}:page:{page}:size:{size}
    """
    return call.key(call.func.__name__, *call.page(), without=("page", "size"))


@_builder
def users_list_key_builder(call: _Call) -> str:
    """Key of one user or of a page of all, the same for all who may ask for them.

    {namespace}:{user_id}:single or {namespace}:list:{func_name}:page:{page}:size:{size}
    """
    without = ("user_id", "page", "size")
    if call.kwargs.get("user_id") is not None:
        return call.key(call.user_id(), "single", call.func.__name__, without=without)
    return call.key("list", call.func.__name__, *call.page(), without=without)


@_builder
def api_keys_list_key_builder(call: _Call) -> str:
    """Key of one user's API keys: {namespace}:{user_id}:{func_name}."""
    return call.key(call.user_id(), call.func.__name__, without=("user_id",))


@_builder
def api_key_single_key_builder(call: _Call) -> str:
    """Key of one API key: {namespace}:{user_id}:{func_name}:{key_id}."""
    key_id = call.kwargs.get("key_id", "")
    without = ("user_id", "key_id")
    return call.key(call.user_id(), call.func.__name__, key_id, without=without)
