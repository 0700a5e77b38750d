"""What routes ask for: managers of the request's session, and who may call."""

from typing import Annotated

from fastapi import Depends, Query, Request

from app.cache import provider
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


@provider  # as it decides nothing
async def _anyone() -> None:
    """Check nothing: the route says that it is open."""


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
