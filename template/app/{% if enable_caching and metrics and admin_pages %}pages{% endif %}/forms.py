"""What a form sends, if it is one of ours.

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
from starlette.requests import Request

from app.errors import BadRequest, Forbidden
from app.managers.tokens import keyed_digest
from app.pages.session import PageUser, cookie_name

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
