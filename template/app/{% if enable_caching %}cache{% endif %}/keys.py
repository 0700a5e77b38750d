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
from app.cache.exchange import headers_of
from app.cache.identity import identity_of, principal_of
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


@dataclass(slots=True)
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
        principal = principal_of(self.request) if self.request else None
        return identity_of(self.request) if principal is None else principal.user_id

    def page(self) -> tuple[str, ...]:
        """The page's part of a key; paging may be two parameters or one object."""
        for value in (_Named(self.kwargs), *self.kwargs.values()):
            if hasattr(value, "page") and hasattr(value, "size"):
                return ("page", str(value.page), "size", str(value.size))
        return ()

    def address(self) -> str | None:
        """Where the request was sent: an answer may hold links that begin like it."""
        if self.request is None:
            return None
        scope, hosts = self.request.scope, headers_of(self.request).getlist("host")
        return f"{scope['scheme']}://{''.join(hosts[:1])}{scope['path']}"

    def named(self, *names: str) -> tuple[str, ...]:
        """Those of the parameters that the call was given, so that segments name."""
        return tuple(name for name in names if self.kwargs.get(name) is not None)

    def key(
        self,
        *segments: object,
        without: tuple[str, ...] = (),
        more: Mapping[str, object] | None = None,
    ) -> str:
        """Join the namespace, the segments and the digest of all other parameters.

        `more` depends on no parameter; its names are such as no parameter has.
        """
        rest = {**self.kwargs, **more} if more else dict(self.kwargs)
        for name in without:
            rest.pop(name, None)
        digest = parameters_of(self.request, rest, without)
        parts = [segment(part) for part in segments if part != ""]
        return ":".join([part for part in (self.namespace, *parts, digest) if part])


class _Named:
    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        vars(self).update(kwargs)


_built_in: set[KeyBuilder] = set()


def is_built_in(builder: KeyBuilder) -> bool:
    """Tell whether a key builder is one of those here, which look at nothing else."""
    return builder in _built_in


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

    _built_in.add(builder)
    return builder


@_builder
def default_key_builder(call: _Call) -> str:
    """Key of one principal's request: {namespace}:{function}:{principal}:{digest}."""
    function = f"{call.func.__module__}.{call.func.__qualname__}"
    more = {"@address": call.address()}
    return call.key(function, identity_of(call.request), more=more)


@_builder
def user_scoped_key_builder(call: _Call) -> str:
    """Key of one user's request: {namespace}:{user_id}:{func_name}.

    Where the route has a parameter `user_id`, that is the user, and who asks is part of
    the digest.
    """
    named = call.named("user_id")
    more = {"@asker": identity_of(call.request)} if named else None
    return call.key(call.user_id(), call.func.__name__, without=named, more=more)


@_builder
def paginated_key_builder(call: _Call) -> str:
    """Key of a page that is the same for all who may ask for it.

    {namespace}:{func_name}:page:{page}:size:{size}
    """
    page = call.page()
    return call.key(call.func.__name__, *page, without=page[::2])


@_builder
def users_list_key_builder(call: _Call) -> str:
    """Key of one user or of a page of all, the same for all who may ask for them.

    {namespace}:{user_id}:single or {namespace}:list:{func_name}:page:{page}:size:{size}
    """
    name, page = call.func.__name__, call.page()
    if named := call.named("user_id"):
        return call.key(call.user_id(), "single", name, without=(*named, *page[::2]))
    return call.key("list", name, *page, without=page[::2])


@_builder
def api_keys_list_key_builder(call: _Call) -> str:
    """Key of one user's API keys: {namespace}:{user_id}:{func_name}."""
    named = call.named("user_id")
    return call.key(call.user_id(), call.func.__name__, without=named)


@_builder
def api_key_single_key_builder(call: _Call) -> str:
    """Key of one API key: {namespace}:{user_id}:{func_name}:{key_id}."""
    key_id = call.kwargs.get("key_id", "")
    named = call.named("user_id", "key_id")
    return call.key(call.user_id(), call.func.__name__, key_id, without=named)
