from fastapi import APIRouter, status

from app.cache import cached, user_scoped_key_builder
from app.errors import Conflict, Forbidden, NotAuthenticated, NotFound
from app.limits import LoginLimit, RefreshLimit, RegisterLimit
from app.managers.auth import CurrentPrincipal
from app.managers.tokens import read_token
from app.openapi import problems
from app.resources.dependencies import ANY_USER, ANYONE, AuthSessions, Users
from app.schemas.auth import (
    Login,
    Message,
    Refresh,
    Registration,
    SessionOut,
    TokenPair,
)
from app.schemas.fields import SessionId

router = APIRouter(tags=["auth"])


@router.post(
    "/register/",
    summary="Register",
    status_code=status.HTTP_201_CREATED,
    responses=problems(Conflict),
    dependencies=[ANYONE],
)
async def register(
    data: Registration, limit: RegisterLimit, users: Users, sessions: AuthSessions
) -> TokenPair:
    """Add a user and log them in."""
    await limit.count(data.email)
    user = await users.create(data)
    return await sessions.start(user.id)


@router.post(
    "/login/",
    summary="Log in",
    responses=problems(NotAuthenticated, Forbidden),
    dependencies=[ANYONE],
)
async def login(data: Login, limit: LoginLimit, sessions: AuthSessions) -> TokenPair:
    """Open a session and give its tokens."""
    async with limit.password_attempt(data.email):
        return await sessions.login(data.email, data.password)


@router.post(
    "/refresh/",
    summary="Get the next tokens",
    responses=problems(NotAuthenticated),
    dependencies=[ANYONE],
)
async def refresh(
    data: Refresh, limit: RefreshLimit, sessions: AuthSessions
) -> TokenPair:
    """Trade a refresh token, once, for new tokens; a second use ends the session."""
    await limit.count(read_token(data.refresh, "refresh", sessions.settings).user_id)
    return await sessions.refresh(data.refresh)


@router.post("/logout/", summary="Log out", dependencies=[ANY_USER])
async def logout(principal: CurrentPrincipal, sessions: AuthSessions) -> Message:
    """End the token's session: its tokens stop working at once."""
    await sessions.end(principal)
    return Message(message="You are logged out.")


# Who has logged in, and no API key, decides about logins.
@router.get("/users/me/sessions", summary="List my sessions", dependencies=[ANY_USER])
@cached(namespace="sessions", key_builder=user_scoped_key_builder)
async def list_sessions(
    principal: CurrentPrincipal, sessions: AuthSessions
) -> list[SessionOut]:
    """All sessions of the user who asks, oldest first; each login is one."""
    return [
        SessionOut(
            id=session.id,
            created_at=session.created_at,
            expires_at=session.expires_at,
            current=session.id == principal.session_id,
        )
        for session in await sessions.list(principal.user_id)
    ]


@router.delete(
    "/users/me/sessions",
    summary="End my other sessions",
    status_code=status.HTTP_204_NO_CONTENT,
    dependencies=[ANY_USER],
)
async def end_other_sessions(
    principal: CurrentPrincipal, sessions: AuthSessions
) -> None:
    """Log out everywhere else: all sessions but this one stop working at once."""
    await sessions.end_all(principal.user_id, keep=principal.session_id)


@router.delete(
    "/users/me/sessions/{session_id}",
    summary="End one of my sessions",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(NotFound),
    dependencies=[ANY_USER],
)
async def end_session(
    principal: CurrentPrincipal, session_id: SessionId, sessions: AuthSessions
) -> None:
    """End a session: its tokens stop working at once."""
    await sessions.end_one(principal.user_id, session_id)
