"""Key builders: under which namespaces the answer to a request is kept.

Segments of a key are joined by ":", and each whole-segment prefix is a namespace that
can be invalidated. What a key does not name is told apart all the same: the other
parameters, and what else the answer depends on. So a builder decides what is
invalidated together, and whether users share an answer.

What changes with one thing of yours needs no builder of its own: name the thing in the
namespace, as in `@cached(namespace="products:{product_id}")`, and have it shared by
`shared_key_builder` where all who may ask get the same.

A builder is called as fastapi-cache2 calls it: with the function and the namespace,
and with `request`, `response`, `args` and `kwargs` by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, Protocol

from fastapi import Request, Response

from app.cache.engine.entry import segment
from app.cache.engine.exchange import identity_of
from app.cache.engine.policy import built_in

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

    @property
    def name(self) -> str:
        name: str = self.func.__name__
        return name

    def user_id(self) -> object:
        """The user whose data it is: the path's, else the one who asks."""
        given = self.kwargs.get("user_id")
        if given is not None:
            return given
        state = self.request.scope.get("state", {}) if self.request else {}
        principal = state.get("principal")
        found = getattr(principal, "user_id", None)
        return identity_of(self.request) if found is None else found

    def page(self) -> tuple[object, ...]:
        """The page's part of a key; paging may be two parameters or one object."""
        pairs = (self.kwargs.get("page"), self.kwargs.get("size"))
        for value in self.kwargs.values():
            if hasattr(value, "page") and hasattr(value, "size"):
                pairs = (value.page, value.size)
        return () if None in pairs else ("page", pairs[0], "size", pairs[1])

    def key(self, *segments: object) -> str:
        """Join the namespace and the segments."""
        parts = [segment(part) for part in segments if part != ""]
        return ":".join([part for part in (self.namespace, *parts) if part])


def _builder(
    whose: Literal["asker", "user", "everybody"],
) -> Callable[[Callable[[_Call], str]], KeyBuilder]:
    def builder_of(build: Callable[[_Call], str]) -> KeyBuilder:
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

        built_in[builder] = whose
        return builder

    return builder_of


@_builder("asker")
def default_key_builder(call: _Call) -> str:
    """Key of one principal's requests: {namespace}:{function}:{principal}."""
    function = f"{call.func.__module__}.{call.func.__qualname__}"
    return call.key(function, identity_of(call.request) if call.request else "")


@_builder("user")
def user_scoped_key_builder(call: _Call) -> str:
    """Key of one user's requests: {namespace}:{user_id}:{func_name}.

    Where the route has a parameter `user_id`, that is the user.
    """
    return call.key(call.user_id(), call.name)


@_builder("everybody")
def shared_key_builder(call: _Call) -> str:
    """Key of what is the same for all who may ask: {namespace}:{func_name}."""
    return call.key(call.name)


@_builder("everybody")
def paginated_key_builder(call: _Call) -> str:
    """Key of a page that is the same for all who may ask for it.

    {namespace}:{func_name}:page:{page}:size:{size}
    """
    return call.key(call.name, *call.page())


@_builder("everybody")
def users_list_key_builder(call: _Call) -> str:
    """Key of one user or of a page of all, the same for all who may ask for them.

    {namespace}:{user_id}:single or {namespace}:list:{func_name}:page:{page}:size:{size}
    """
    if call.kwargs.get("user_id") is not None:
        return call.key(call.user_id(), "single", call.name)
    return call.key("list", call.name, *call.page())


@_builder("user")
def api_keys_list_key_builder(call: _Call) -> str:
    """Key of one user's API keys: {namespace}:{user_id}:{func_name}."""
    return call.key(call.user_id(), call.name)


@_builder("user")
def api_key_single_key_builder(call: _Call) -> str:
    """Key of one API key: {namespace}:{user_id}:{func_name}:{key_id}."""
    return call.key(call.user_id(), call.name, call.kwargs.get("key_id", ""))
