"""Pages for admins, below /admin: how the cache does, and buttons for it.

They are made here and work without JavaScript. `login.py` has who gets in and what a
form has to show, `html.py` what each page tells the browser. While the cache is off
there are none, and these modules are not imported: they need it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from app.cache.off import is_on

__all__ = ["install_pages", "pages_lifespan"]

ON = is_on()  # as `app.cache` was when it was imported
STATIC = Path(__file__).parent / "static"


def install_pages(app: FastAPI) -> None:
    """Add the pages, and have what goes wrong below them answered by a page, too."""
    if not ON:
        return

    from app.pages import cache, login

    router = APIRouter()
    router.include_router(login.router)
    router.include_router(cache.router)
    router.mount("/static", StaticFiles(directory=STATIC))
    handlers = login.as_pages(app.exception_handlers)
    below = [Middleware(ExceptionMiddleware, handlers=handlers)]
    app.state.pages = Mount("/admin", app=router, middleware=below)
    app.router.routes.append(app.state.pages)


@asynccontextmanager
async def pages_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Write down what happens to the cache, if anything is counted.

    An own route below /admin comes before the pages.
    """
    if not ON:
        yield
        return

    from app.pages.numbers import events
    from app.pages.store import watch

    routes = app.router.routes
    routes.append(routes.pop(routes.index(app.state.pages)))
    served = getattr(app.state, "response_cache", None)
    if served is None or getattr(app.state, "counted", None) is None:
        yield
        return
    async with events().written():
        watch(served.cache, events())
        yield
