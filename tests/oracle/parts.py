"""What an owner puts around a cached handler; the scenarios' code has all its names."""

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from functools import wraps
from typing import Annotated, Any

from fastapi import BackgroundTasks, Header, HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import BaseModel, Field
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    BaseUser,
    SimpleUser,
)
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache import cached
from app.errors import Forbidden
from app.managers.auth import AuthManager, Principal

# What ran since the last step, by name. Only for "handler …" may the cache differ.
tally: Counter[str] = Counter()
# What steps turn on and off.
on: set[str] = set()
# What a decorator or a dependency counts over the whole scenario.
used: Counter[str] = Counter()
# What is not in the database: changed by a step, with `invalidate_namespace`.
stock: Counter[str] = Counter()
tenant_now: ContextVar[str] = ContextVar("tenant", default="-")


def ran(name: str) -> None:
    tally[name] += 1


async def pause() -> None:
    await asyncio.sleep(0.001)


def wait() -> None:
    time.sleep(0.01)


class Public(BaseModel):
    name: str
    seen: Any = None


class Full(Public):
    salary: int = 0


class Aliased(BaseModel):
    name: str = Field(default="?", alias="Name")
    seen: Any = None


def answer(name: str, *seen: Any) -> dict[str, Any]:
    return {"name": name, "Name": name, "seen": list(seen), "salary": 70000}


# Above @cached.

AnyHandler = Callable[..., Any]


def _around(before: Callable[[], None], after: Callable[[Any], Any]) -> Any:
    """A decorator of sync and async functions alike."""

    def decorate(handler: AnyHandler) -> AnyHandler:
        if inspect.iscoroutinefunction(handler):

            @wraps(handler)
            async def inner(*args: Any, **kwargs: Any) -> Any:
                before()
                return after(await handler(*args, **kwargs))

            return inner

        @wraps(handler)
        def sync_inner(*args: Any, **kwargs: Any) -> Any:
            before()
            return after(handler(*args, **kwargs))

        return sync_inner

    return decorate


def quota(name: str, limit: int) -> Any:
    def count() -> None:
        ran(f"quota of {name}")
        used[name] += 1
        if used[name] > limit:
            raise HTTPException(429, "too many")

    return _around(count, lambda result: result)


def _add(result: Any) -> Any:
    ran("adds")
    used["adds"] += 1
    return result | {"salary": used["adds"]} if isinstance(result, dict) else result


adds = _around(lambda: None, _add)


# Dependencies.


def counts() -> None:
    ran("counts")


def counts_otherwise() -> None:
    ran("counts otherwise")


def denies() -> None:
    ran("denies")
    if "denied" in on:
        raise HTTPException(403, "not now")


async def sets_header(response: Response) -> None:
    used["limit"] += 1
    response.headers["X-RateLimit-Used"] = str(used["limit"])


def sets_cookie(response: Response) -> None:
    used["visit"] += 1
    response.set_cookie("visit", str(used["visit"]))


def reads_header(response: Response, x_tenant: Annotated[str, Header()] = "-") -> None:
    response.headers["X-For"] = x_tenant


async def yields() -> AsyncIterator[None]:
    ran("yields: begins")
    yield
    ran("yields: ends")


def background(tasks: BackgroundTasks) -> None:
    tasks.add_task(ran, "background of a dependency")


def scoped(scopes: SecurityScopes) -> None:
    ran(f"scopes {scopes.scope_str}")
    if "denied" in on:
        raise HTTPException(403, scopes.scope_str)


async def context_tenant(request: Request) -> None:
    tenant_now.set(request.headers.get("x-tenant", "-"))


async def sets_state(request: Request) -> None:
    request.state.language = request.headers.get("accept-language", "en")


@cached(namespace="depended")
async def depended(tenant: str) -> dict[str, str]:
    ran("handler of a dependency's function")
    return {"tenant": tenant}


async def uses_function(
    response: Response, x_tenant: Annotated[str, Header()] = "-"
) -> None:
    ran("uses_function")
    response.headers["X-Found"] = (await depended(x_tenant))["tenant"]


class Rule(AuthManager):
    """A rule of the owner's."""

    def authorize(self, principal: Principal, request: HTTPConnection) -> None:
        ran("rule")
        if "ruled out" in on:
            raise Forbidden("Not any more.", code="ruled_out")
        super().authorize(principal, request)


def edit_auth_manager() -> None:
    """What an owner does who writes a rule into `AuthManager` itself."""
    before = AuthManager.authorize

    def authorize(
        self: AuthManager, principal: Principal, request: HTTPConnection
    ) -> None:
        ran("edited rule")
        if "ruled out" in on:
            raise Forbidden("Not any more.", code="ruled_out")
        before(self, principal, request)

    AuthManager.authorize = authorize  # type: ignore[method-assign] # in a fork


class Db:
    """A session on one tenant's schema; like most objects, it shows nothing of it."""

    def __init__(self, schema: str) -> None:
        self.schema = schema


async def tenant_db(x_tenant: Annotated[str, Header()] = "-") -> Db:
    ran("tenant_db")
    return Db(x_tenant)


def raw_db(request: Request) -> Db:
    ran("raw_db")
    return Db(request.headers.get("x-tenant", "-"))


def overridden_db() -> Db:
    ran("overridden_db")
    return Db("overridden")


OVERRIDES: dict[Callable[..., Any], Callable[..., Any]] = {
    counts: counts_otherwise,
    tenant_db: overridden_db,
}


# Key builders of the documented form.


def by_category(
    func: AnyHandler,
    namespace: str,
    request: Request,
    response: Response,
    *args: Any,
    **kwargs: Any,
) -> str:
    category = request.query_params.get("category", "all")
    return f"{namespace}:{func.__name__}:{category}"


async def by_page(
    func: AnyHandler,
    namespace: str = "",
    *,
    request: Request | None = None,
    response: Response | None = None,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> str:
    parsed = kwargs or {}
    return f"{namespace}:{parsed['page']}:{parsed['size']}"


# Around the routes.


class Counted(APIRoute):
    """A `route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def counted(request: Request) -> Response:
            ran("route_class")
            used["route_class"] += 1
            count = str(used["route_class"])
            response = await handle(request)
            response.headers["X-Route-Class"] = count
            return response

        return counted


class TenantMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            ran("middleware")
            tenant = Headers(scope=scope).get("x-tenant", "-")
            scope.setdefault("state", {})["tenant"] = tenant
        await self.app(scope, receive, send)


class Members(AuthenticationBackend):
    """Starlette's way: `X-Member: NAME` is who asks."""

    async def authenticate(
        self, conn: HTTPConnection
    ) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.headers.get("x-member")
        if name is None:
            return None
        scopes = [] if "expelled" in on else ["member"]
        return AuthCredentials(scopes), SimpleUser(name)
