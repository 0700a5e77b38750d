from fastapi import APIRouter, status

from app.errors import Conflict, Forbidden, NotAuthenticated
from app.limits import LoginLimit, RefreshLimit, RegisterLimit
from app.managers.auth import CurrentPrincipal
from app.managers.tokens import read_token
from app.openapi import problems
from app.resources.dependencies import ANY_USER, ANYONE, AuthSessions, Users
from app.schemas.auth import Login, Message, Refresh, Registration, TokenPair

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
