"""Who uses a page: a cookie carries what programs send as a bearer token.

So it ends as any token does: with its time, with a logout, a ban, a new password. The
role is asked on each request, too.
"""

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials
from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.cache import authenticator
from app.errors import NotAuthenticated
from app.managers.auth import AuthManager
from app.managers.principal import Principal
from app.schemas.auth import TokenPair

SESSION = "admin-session"


class PageManager(AuthManager):
    """A dependency: who logged in at /admin/login, if allowed to do this."""

    @authenticator
    async def __call__(  # type: ignore[override]  # FastAPI calls it as declared here
        self, request: HTTPConnection
    ) -> Principal:
        token = request.cookies.get(cookie_name(SESSION, request))
        if token is None:
            raise NotAuthenticated
        shown = HTTPAuthorizationCredentials(scheme="Bearer", credentials=token)
        await super().__call__(request, shown, None)
        principal: Principal = request.state.principal
        return principal


PageUser = Annotated[Principal, Depends(PageManager())]
PageAdmin = Annotated[Principal, Depends(PageManager(admin=True))]


def begin(response: Response, request: HTTPConnection, tokens: TokenPair) -> None:
    """Have the browser show the token, for as long as it is valid."""
    set_cookie(response, request, SESSION, tokens.token, tokens.expires_in)


def end(response: Response, request: HTTPConnection) -> None:
    """Have the browser forget the token."""
    set_cookie(response, request, SESSION, "", 0)


def set_cookie(
    response: Response, request: HTTPConnection, name: str, value: str, seconds: int
) -> None:
    """Set a cookie that no script reads and no other site's page has sent."""
    response.set_cookie(
        cookie_name(name, request),
        value,
        max_age=seconds,
        path="/",  # as __Host- needs it
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )


def cookie_name(name: str, request: HTTPConnection) -> str:
    """Return a name that browsers let only this host set, and only by https."""
    return f"__Host-{name}" if _is_secure(request) else name


def _is_secure(request: HTTPConnection) -> bool:
    """Tell whether cookies are for https only: always, but where one develops."""
    return (
        request.url.scheme == "https"
        or request.app.state.settings.environment == "production"
    )
