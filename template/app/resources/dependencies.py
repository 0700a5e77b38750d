"""What routes ask for, managers and who may call; and who may call which route.

The latter is what `api-admin routes` shows and the tests ask for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import (
    APIRoute,
    APIWebSocketRoute,
    RouteContext,
    iter_route_contexts,
)
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute, Mount

from app.cache import check, provider
from app.database import SessionDep
from app.managers.api_key import ApiKeyManager
from app.managers.auth import AuthManager, SelfOrAdmin
from app.managers.auth_session import AuthSessionManager
from app.managers.scopes import role_scopes
from app.managers.user import UserManager
from app.models.user import Role, User
from app.schemas.fields import MAX_ID


@provider
def _users(request: Request, session: SessionDep) -> UserManager:
    return UserManager(session, request.app.state.settings)


@provider
def _api_keys(request: Request, session: SessionDep) -> ApiKeyManager:
    return ApiKeyManager(session, request.app.state.settings)


@provider
def _auth_sessions(request: Request, session: SessionDep) -> AuthSessionManager:
    return AuthSessionManager(session, request.app.state.settings)


Users = Annotated[UserManager, Depends(_users)]
ApiKeys = Annotated[ApiKeyManager, Depends(_api_keys)]
AuthSessions = Annotated[AuthSessionManager, Depends(_auth_sessions)]


@check
async def _anyone() -> None:
    """Let everybody through: the route says that it is open."""


# Who may call a route, for its signature where it uses the user.
ProfileReader = Annotated[User, Depends(AuthManager("profile:read"))]
KeysReader = Annotated[User, Depends(AuthManager("keys:read"))]
KeysWriter = Annotated[User, Depends(AuthManager("keys:write"))]
UsersWriter = Annotated[User, Depends(AuthManager("users:write", admin=True))]
OwnerOrAdmin = Annotated[User, Depends(SelfOrAdmin())]

# The same for its decorator's `dependencies`.
ANYONE = Depends(_anyone)
ANY_USER = Depends(AuthManager())  # but no API key, because no scope is named
KEYS_WRITER = Depends(AuthManager("keys:write"))
USERS_READER = Depends(AuthManager("users:read", admin=True))
USERS_WRITER = Depends(AuthManager("users:write", admin=True))
OWNER_OR_ADMIN = Depends(SelfOrAdmin())
# Nobody hands out more than they hold.
ADMIN_MAKER = Depends(AuthManager(*role_scopes(Role.admin), admin=True))

# The last page that can be counted to has its offset within 64 bits.
PageNumber = Annotated[int, Query(ge=1, le=MAX_ID // 100, description="From 1")]
PageSize = Annotated[int, Query(ge=1, le=100, description="Items on a page")]


Who = Literal["admin", "self or admin", "user"]
STRICTEST: tuple[Who, ...] = get_args(Who)


def walk(
    routes: Sequence[BaseRoute], above: str = ""
) -> Iterator[tuple[str, RouteContext]]:
    """Yield each route of FastAPI, or what is mounted and shows none, with its path."""
    for route in iter_route_contexts(routes):
        path = above + (route.path or "")
        original = route.original_route
        if isinstance(original, Mount) and original.routes:
            yield from walk(original.routes, path)
        elif isinstance(original, APIRoute | APIWebSocketRoute | Mount):
            yield path, route


@dataclass(frozen=True)
class Access:
    """Who may call a route. Of several guards each has to let the caller through."""

    auth: Who | Literal["anyone", "own guard"]
    scopes: list[str]
    """What a token or an API key needs; of "self or admin" one for each."""
    api_keys: Literal["any", "by scope", "none", "own guard"]
    declared: bool
    """Whether the route says who may call it. If not, anyone may."""


def access_of(route: RouteContext) -> Access:
    """Look through a route's dependencies, with those of its router and application."""
    if isinstance(route.original_route, Mount):  # such as StaticFiles
        return Access("anyone", [], "any", declared=True)
    found = guards(route.dependant)
    if not found:
        calls = [node.call for node in _nodes_of(route.dependant)]
        if any(isinstance(call, SecurityBase) for call in calls):
            return Access("own guard", [], "own guard", declared=True)
        return Access("anyone", [], "any", declared=ANYONE.dependency in calls)
    scopes = [scope for _, needed in found for scope in needed]
    closed = any(not (needed or guard.any_key) for guard, needed in found)
    asked = {_who(guard) for guard, _ in found}
    return Access(
        auth=next(who for who in STRICTEST if who in asked),
        scopes=list(dict.fromkeys(scopes)),
        api_keys="none" if closed else "by scope" if scopes else "any",
        declared=True,
    )


def guards(dependant: Dependant) -> list[tuple[AuthManager, list[str]]]:
    """Each guard of a route, wherever it hangs in the tree, and the scopes it names."""
    return [
        (node.call, _scopes_of(node.call, node))
        for node in _nodes_of(dependant)
        if isinstance(node.call, AuthManager)
    ]


def _who(guard: AuthManager) -> Who:
    if isinstance(guard, SelfOrAdmin):
        return "self or admin"
    return "admin" if guard.admin else "user"


def _scopes_of(guard: AuthManager, node: Dependant) -> list[str]:
    own = [guard.own_scope] if isinstance(guard, SelfOrAdmin) else []
    # What `Security(…, scopes=[…])` adds, there or above.
    added = [*(node.parent_oauth_scopes or ()), *(node.own_oauth_scopes or ())]
    return [*own, *guard.scopes, *added]


def _nodes_of(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _nodes_of(each)
