"""Logging in with a browser, and out."""

import re

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.errors import NotAuthenticated
from app.limits import LoginLimit
from app.pages.forms import BEFORE_LOGIN, OUR_FORM, LoginForm, nonce_of, token_for
from app.pages.html import page, root_of
from app.pages.session import PageUser, begin, end, set_cookie
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
