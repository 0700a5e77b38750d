"""What is refused below /admin, as a page."""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from inspect import isawaitable
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.pages.html import page, root_of
from app.pages.login import form

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
