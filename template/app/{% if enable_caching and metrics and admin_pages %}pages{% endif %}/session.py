"""Who uses a page, and what a form sends, if it is one of ours.

A cookie carries what programs send as a bearer token. So it ends as any token does:
with its time, with a logout, a ban, a new password. The role is asked on each request,
too.

A page of another site can have a browser send anything here. It is refused twice: by
the header Origin, in which each browser says whose page a POST comes from, and by a
token that only our page has. The token is bound to the session, and before there is
one to a cookie that came with the form of the login.
"""

import hmac
import re
import secrets
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from app.cache import authenticator
from app.errors import BadRequest, Forbidden, NotAuthenticated
from app.managers.auth import AuthManager
from app.managers.principal import Principal
from app.managers.tokens import keyed_digest
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


FIELD = "csrf"
BEFORE_LOGIN = "admin-form"
NONCE = re.compile(r"[0-9a-f]{32}")

Fields = dict[str, str]


def token_for(request: Request, bound_to: str | None) -> str:
    """Return the token of the forms of a session, or of what a cookie holds."""
    settings = request.app.state.settings
    return keyed_digest(settings, "form", f"{bound_to}")


def nonce_of(request: Request) -> str:
    """Return what the cookie of the login's form holds, or something new for it."""
    shown = request.cookies.get(cookie_name(BEFORE_LOGIN, request), "")
    return shown if NONCE.fullmatch(shown) else secrets.token_hex(16)


async def _of_session(request: Request, principal: PageUser) -> Fields:
    return await _fields(request, token_for(request, principal.session_id))


async def _before_login(request: Request) -> Fields:
    if cookie_name(BEFORE_LOGIN, request) not in request.cookies:
        raise Forbidden(
            "Your browser did not send back the cookie of this form. Try again; where"
            " it stays so, cookies are off, or the page did not come by https.",
            code="no_cookie",
        )
    return await _fields(request, token_for(request, nonce_of(request)))


async def _fields(request: Request, token: str) -> Fields:
    """Return what was sent; raises `Forbidden` unless our own page sent it."""
    # Only the host: a proxy may not tell that the browser came by https.
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if not origin or origin != request.headers.get("host"):
        raise Forbidden("This form came from another site.", code="other_origin")
    try:
        text = (await request.body()).decode("ascii")
        fields = dict(parse_qsl(text, errors="strict", max_num_fields=20))
    except ValueError:
        raise BadRequest("The form cannot be read.") from None
    if not hmac.compare_digest(fields.get(FIELD, "").encode(), token.encode()):
        raise Forbidden("This form is out of date: load the page again.", code="csrf")
    return fields


OUR_FORM = Depends(_of_session)
SessionForm = Annotated[Fields, Depends(_of_session)]
LoginForm = Annotated[Fields, Depends(_before_login)]
