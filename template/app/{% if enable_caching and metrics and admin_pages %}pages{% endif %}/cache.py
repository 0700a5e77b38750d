"""The page /admin/cache."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.cache.stored import dropped, known_names, warning
from app.errors import AppError, BadRequest
from app.logs import SERVER
from app.metrics import totals
from app.pages.events import Event, events
from app.pages.explain import explained
from app.pages.forms import SessionForm, token_for
from app.pages.html import page
from app.pages.numbers import OUTCOMES, Numbers, put_together
from app.pages.session import PageAdmin

LONGEST = 512  # characters of a namespace

router = APIRouter(prefix="/cache")


@router.get("", summary="How the cache does")
async def show(request: Request, admin: PageAdmin) -> Response:
    return await _page(request, admin)


@router.post("/clear", summary="Clear a namespace")
async def clear(request: Request, admin: PageAdmin, fields: SessionForm) -> Response:
    """Drop what is cached below a namespace, or everything, and say so."""
    namespace = "" if "everything" in fields else fields.get("namespace", "").strip()
    if "everything" not in fields and not namespace:
        raise BadRequest("Type a namespace, as in users:list.")
    if len(namespace) > LONGEST or not namespace.isprintable():
        raise BadRequest("This is no namespace.")
    settings = request.app.state.settings
    doubt = warning(namespace) if namespace else ""
    said = await dropped(settings, namespace, "the page /admin/cache")
    SERVER.info(
        "user %s clears %r of the cache", admin.user_id, namespace or "everything"
    )
    return await _page(request, admin, cleared=f"{said} {doubt}".strip())


@router.post("/explain", summary="Explain an address")
async def explain(request: Request, admin: PageAdmin, fields: SessionForm) -> Response:
    """Say whether a GET would be a hit, and why."""
    asked = fields.get("url", "").strip(), fields.get("user", "").strip()
    about: dict[str, Any] = {"asked": asked}
    url, user = asked[0], asked[1] or str(admin.user_id)
    try:
        served = getattr(request.app.state, "response_cache", None)
        if served is None:
            raise BadRequest("The cache is off.")
        about["explained"] = await explained(served.cache, url, user)
    except AppError as error:
        about["not_explained"] = error.detail
    return await _page(request, admin, **about)


async def _page(request: Request, admin: PageAdmin, **about: Any) -> Response:
    state = request.app.state
    counted = getattr(state, "counted", None)
    numbers: Numbers | None = None
    last: list[Event] = []
    if counted is not None:
        counted.cache.look()
        events().write()
        numbers = put_together(await run_in_threadpool(lambda: [*totals().collect()]))
        last = await run_in_threadpool(events().of_all)
    return page(
        request,
        "cache.html",
        admin=admin,
        csrf=token_for(request, admin.session_id),
        known=sorted(set(known_names())),
        numbers=numbers,
        outcomes=OUTCOMES,
        events=last,
        time=time.time(),
        settings=state.settings,
        **about,
    )
