"""The page /admin/cache.

What it says of an address is what `api-admin cache explain` says. That has the
service's handlers left out, in the whole process, so it runs in one of its own, and the
requests that are answered here meanwhile run theirs.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.cache.engine.cache import Cache
from app.cache.engine.stored import known_names, looked_up, warning
from app.cache.invalidation import dropped
from app.errors import AppError, BadRequest, Unavailable
from app.logs import SERVER
from app.metrics import totals
from app.pages.html import page
from app.pages.login import PageAdmin, SessionForm, token_for
from app.pages.numbers import OUTCOMES, Event, Numbers, events, put_together
from app.pages.store import FIGURES

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
        figures=FIGURES,
        events=last,
        time=time.time(),
        settings=state.settings,
        **about,
    )


PATIENCE = 60  # seconds; it starts the service once more
COMMAND = (sys.executable, "-c", "from app.commands import main; main()")

_one_at_a_time = asyncio.Lock()  # it takes a processor for a second or two


async def explained(cache: Cache, url: str, who: str) -> dict[str, Any]:
    """Return what there is to say of a GET of `url` by a user, by id or e-mail address.

    Where that process cannot know what is stored, because it is in the memory of this
    one, it says where to look.

    Raises `BadRequest` or `Unavailable` with why nothing can be said.
    """
    if not url.startswith("/"):
        raise BadRequest("An address begins with a slash, as in /users/?page=2.")
    arguments = ["cache", "explain", url, f"--user={who}", "--json"]
    environment = os.environ | {"METRICS_TOKEN": "", "NO_COLOR": "1"}
    if _one_at_a_time.locked():
        raise Unavailable("Another address is being explained: try again soon.")
    async with _one_at_a_time:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                output, errors = await process.communicate()
        except TimeoutError:
            raise Unavailable("Explaining this takes too long now.") from None
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise BadRequest(last.removeprefix("Error: "))
    shown: dict[str, Any] = json.loads(output)
    if "place" in shown:
        place, inherited = shown.pop("place"), shown.pop("inherited")
        shown |= await looked_up(cache, shown["key"], place, inherited)
    return shown
