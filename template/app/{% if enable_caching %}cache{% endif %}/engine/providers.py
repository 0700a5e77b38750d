"""Which dependencies of a route only make something, and which decide.

On a hit, everything that stands before a handler runs, but for *providers*: they are
made when the handler is, so on a miss only. The trees are FastAPI's own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.security.base import SecurityBase
from pydantic import BaseModel

Call = Callable[..., Any]
C = TypeVar("C", bound=Call)

_providers: WeakSet[Call] = WeakSet()
_authenticators: WeakSet[Call] = WeakSet()
_checks: WeakSet[Call] = WeakSet()


def provider(dependency: C) -> C:
    """Declare that a dependency makes something for the handler and decides nothing.

    It makes a session, a manager, a client. It refuses nobody, sets nothing, and what
    it makes tells no two requests apart. So it need not run where the cache answers.
    """
    _providers.add(dependency)
    return dependency


def authenticator(dependency: C) -> C:
    """Declare that a dependency finds `request.state.principal`, and tells no more.

    It may look at the whole request: what it finds is the principal, which is part of
    the key wherever a handler is given it. It runs on every hit. Of a class whose
    instances are the dependencies, declare `__call__`.
    """
    _authenticators.add(dependency)
    return dependency


def check(dependency: C) -> C:
    """Declare that a dependency lets a request through or refuses it, and no more.

    It may look at the whole request, and set headers: it runs on every hit. Declare it
    in `dependencies`: what it returns would be part of what the handler is told.
    """
    _checks.add(dependency)
    return dependency


def is_provider(call: Any) -> bool:
    """Tell whether this very dependency was declared a provider."""
    return _is_in(_providers, call)


def is_authenticator(call: Any) -> bool:
    """Tell whether this dependency, or its `__call__`, was declared one."""
    return _is_declared(_authenticators, call)


def is_check(call: Any) -> bool:
    """Tell whether this dependency, or its `__call__`, decides and tells no more."""
    return _is_declared(_checks, call) or is_authenticator(call)


def _is_declared(declared: WeakSet[Call], call: Any) -> bool:
    return _is_in(declared, call) or (
        not isinstance(call, type) and _is_in(declared, type(call).__call__)
    )


@dataclass(slots=True)
class Sight:
    """What a route's answer may have been made from.

    `principal`: from who asks; `raw`: from anything in the request; `headers`,
    `cookies` and `query` are the names that dependencies declare.
    """

    principal: bool = False
    raw: bool = False
    headers: set[str] = field(default_factory=set)
    cookies: set[str] = field(default_factory=set)
    query: set[str] = field(default_factory=set)

    @property
    def told(self) -> bool:
        """Whether the handler may know who asks."""
        return self.principal or self.raw


def sight_of(dependant: Dependant) -> Sight:
    """Look through a route's tree of dependencies."""
    sight = Sight(raw=_takes_request(dependant))
    _look(dependant, sight, is_handler=True)
    return sight


def _look(dependant: Dependant, sight: Sight, *, is_handler: bool = False) -> None:
    for child in dependant.dependencies:
        # A check alone, whose value goes nowhere, says nothing of the answer.
        alone = is_handler and child.name is None
        if alone and is_check(child.call):
            continue
        if is_authenticator(child.call):
            sight.principal = True
            continue
        if isinstance(child.call, SecurityBase):
            sight.raw = True  # whoever takes credentials knows more than we do
        elif not is_provider(child.call):
            sight.raw |= _takes_request(child)
        sight.headers |= {n.lower() for n in names_of(child.header_params, sight)}
        sight.cookies |= names_of(child.cookie_params, sight)
        sight.query |= names_of(child.query_params, sight)
        # A model of parameters does not say their names here.
        sight.raw |= any(map(_is_model, params_of(child))) or bool(child.body_params)
        _look(child, sight)


def deferred(dependant: Dependant) -> list[Dependant]:
    """Return those of a route's dependencies that can wait for the handler.

    A provider can, if all below it are such, and nothing that runs before shares what
    it makes: a session must not be made twice.
    """
    makers = [child for child in dependant.dependencies if _only_makes(child)]
    while True:
        waiting = {id(child) for child in makers}
        rest = [c for c in dependant.dependencies if id(c) not in waiting]
        early = [node.call for child in rest for node in nodes_of(child)]
        kept = [c for c in makers if all(n.call not in early for n in nodes_of(c))]
        if len(kept) == len(makers):
            return kept
        makers = kept


def params_of(dependant: Dependant) -> list[ModelField]:
    """Return what a dependency or a handler itself declares of a request's head."""
    return [
        *(*dependant.path_params, *dependant.query_params),
        *(*dependant.header_params, *dependant.cookie_params),
    ]


def names_of(params: Iterable[ModelField], sight: Sight) -> set[str]:
    """Return by which names parameters are sent; where one has several, all is seen."""
    found: set[str] = set()
    for param in params:
        name = param.field_info.validation_alias or param.alias
        if isinstance(name, str):
            found.add(name)
        else:
            sight.raw = True
    return found


def nodes_of(dependant: Dependant) -> Iterator[Dependant]:
    """Yield a dependency and all below it."""
    yield dependant
    for child in dependant.dependencies:
        yield from nodes_of(child)


def _only_makes(dependant: Dependant) -> bool:
    declares = (
        params_of(dependant),
        dependant.body_params,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )
    return (
        is_provider(dependant.call)
        and not any(declares)
        and all(map(_only_makes, dependant.dependencies))
    )


def _takes_request(dependant: Dependant) -> bool:
    names = dependant.request_param_name, dependant.http_connection_param_name
    return any(names)


def _is_model(param: ModelField) -> bool:
    kind = param.field_info.annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_in(known: WeakSet[Call], call: Any) -> bool:
    try:
        return call in known
    except TypeError:  # it has no hash, or no weak reference
        return False
