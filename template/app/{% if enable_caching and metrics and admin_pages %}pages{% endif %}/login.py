"""Logging in with a browser, and out; what is refused below /admin is a page, too."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from inspect import isawaitable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.errors import NotAuthenticated
from app.limits import LoginLimit
from app.pages.html import page, root_of
from app.pages.session import (
    BEFORE_LOGIN,
    OUR_FORM,
    LoginForm,
    PageUser,
    begin,
    end,
    nonce_of,
    set_cookie,
    token_for,
)
from app.resources.dependencies import ANYONE, AuthSessions
from app.schemas.auth import Login

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
        "login.html",
        status,
        csrf=token_for(request, nonce),
        email=getattr(request.state, "typed", ""),
        following=_next(request),
        refusal=refusal,
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
            shown = page(request, "refused.html", status, **about)
        for name in ("allow", "retry-after", "www-authenticate"):
            if name in problem.headers:
                shown.headers[name] = problem.headers[name]
        return shown

    return answer


def _login_for(request: Request) -> str:
    root = root_of(request)
    asked = request.url.path.removeprefix(root) if request.method == "GET" else ""
    return f"{root}/login?next={quote(asked)}" if asked else f"{root}/login"
