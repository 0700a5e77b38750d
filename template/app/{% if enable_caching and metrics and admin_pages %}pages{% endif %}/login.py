"""Who uses a page, and what a form sends, if it is one of ours; logging in and out.

A cookie carries what programs send as a bearer token. So it ends as any token does:
with its time, with a logout, a ban, a new password. The role is asked on each request,
too.

A page of another site can have a browser send anything here. It is refused twice: by
the header Origin, in which each browser says whose page a POST comes from, and by a
token that only our page has. The token is bound to the session, and before there is
one to a cookie that came with the form of the login.

What is refused below /admin is a page, too.
"""

import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from inspect import isawaitable
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from app.cache import authenticator
from app.errors import BadRequest, Forbidden, NotAuthenticated
from app.limits import LoginLimit
from app.managers.auth import AuthManager
from app.managers.principal import Principal
from app.managers.tokens import keyed_digest
from app.pages.html import page, root_of
from app.resources.dependencies import ANYONE, AuthSessions
from app.schemas.auth import Login, TokenPair

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


# Logging in, and out

PATIENCE = 3600  # seconds that a form may lie open
# A page below ours: nothing else in the address may say where a login leads.
OURS = re.compile(r"/[a-z]+(/[a-z]+)*")
FIRST = "/cache"

router = APIRouter()


@router.get("/login", summary="The form to log in", dependencies=[ANYONE])
async def show(request: Request) -> Response:
    return form(request)


@router.post("/login", summary="Log in at a page", dependencies=[ANYONE])
async def log_in(
    request: Request, limit: LoginLimit, fields: LoginForm, sessions: AuthSessions
) -> Response:
    """Open a session as the API's login does, and put its token into a cookie."""
    request.state.typed = fields.get("email", "")
    try:
        given = Login(
            email=fields.get("email", ""), password=fields.get("password", "")
        )
    except ValidationError:  # nobody has such an address
        raise NotAuthenticated(
            "The e-mail address or the password is wrong.", code="invalid_credentials"
        ) from None
    async with limit.password_attempt(given.email):
        tokens = await sessions.login(given.email, given.password)
    response = RedirectResponse(root_of(request) + _next(request), 303)
    begin(response, request, tokens)
    set_cookie(response, request, BEFORE_LOGIN, "", 0)
    return response


@router.post("/logout", summary="Log out at a page", dependencies=[OUR_FORM])
async def log_out(request: Request, user: PageUser, sessions: AuthSessions) -> Response:
    await sessions.end(user)
    response = RedirectResponse(f"{root_of(request)}/login", 303)
    end(response, request)
    return response


def form(request: Request, refusal: str = "", status: int = 200) -> Response:
    """Return the page with the form, and with why it was refused."""
    nonce = nonce_of(request)
    response = page(
        request,
        "page.html",
        status,
        phrase="",
        detail=refusal,
        csrf=token_for(request, nonce),
        email=getattr(request.state, "typed", ""),
        following=_next(request),
    )
    set_cookie(response, request, BEFORE_LOGIN, nonce, PATIENCE)
    return response


def _next(request: Request) -> str:
    asked = request.query_params.get("next", "")
    return asked if OURS.fullmatch(asked) else FIRST


Handler = Callable[[Request, Any], Awaitable[Response]]


def as_pages(handlers: Mapping[Any, Callable[..., Any]]) -> dict[Any, Handler]:
    """Return the application's handlers, with what they answer made into pages."""
    return {
        kind: _as_page(handler)
        for kind, handler in handlers.items()
        if kind not in (500, Exception)  # the application answers those itself
    }


def _as_page(handler: Callable[..., Any]) -> Handler:
    async def answer(request: Request, error: Any) -> Response:
        made = handler(request, error)
        problem: Response = await made if isawaitable(made) else made
        status = HTTPStatus(problem.status_code)
        at_login = request.scope.get("endpoint") is not None and (
            request.url.path == f"{root_of(request)}/login"
        )
        if status is HTTPStatus.UNAUTHORIZED and not at_login:
            return RedirectResponse(_login_for(request), 303)
        detail = json.loads(bytes(problem.body))["detail"]
        if at_login and request.method == "POST":
            shown = form(request, detail, status)
        else:
            about = {"phrase": status.phrase, "detail": detail}
            shown = page(request, "page.html", status, **about)
        for name in ("allow", "retry-after", "www-authenticate"):
            if name in problem.headers:
                shown.headers[name] = problem.headers[name]
        return shown

    return answer


def _login_for(request: Request) -> str:
    root = root_of(request)
    asked = request.url.path.removeprefix(root) if request.method == "GET" else ""
    return f"{root}/login?next={quote(asked)}" if asked else f"{root}/login"
