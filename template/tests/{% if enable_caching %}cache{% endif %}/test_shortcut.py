"""A request that was answered before needs no dependency, unless anything could differ.

Each route counts in `runs` how often its dependency ran. The first request is a miss,
the second one a hit that ran the dependency, and from the third one on it is left out.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from sqlalchemy import text
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache import cached, invalidate_namespace, repeatable, valid_until
from app.cache import shortcut as shortcuts
from app.cache.engine import running
from app.database import SessionDep
from app.database.base import utc_now
from app.errors import Forbidden
from app.managers.auth import (
    AuthManager,
    Bearer,
    CurrentUser,
    KeyHeader,
    Principal,
)
from app.models.user import Role
from tests.cache.answers import outcome
from tests.people import Headers, MakeKey, Person

runs: Counter[str] = Counter()
router = APIRouter(prefix="/short")
Language = Annotated[str, Header()]


@repeatable
def plain() -> None:
    runs["plain"] += 1


@router.get("/plain", dependencies=[Depends(plain)])
@cached(namespace="short")
async def get_plain(number: int = 0) -> int:
    runs["handler"] += 1
    return number


def undeclared() -> None:
    runs["undeclared"] += 1


@router.get("/undeclared", dependencies=[Depends(plain), Depends(undeclared)])
@cached(namespace="short")
async def get_undeclared() -> int:
    return 1


@repeatable
async def reading(session: SessionDep) -> None:
    runs["reading"] += 1
    if runs["handler"]:  # else its answer would not even be stored
        await session.execute(text("SELECT 1"))


@router.get("/reading", dependencies=[Depends(reading)])
@cached(namespace="short")
async def get_reading() -> int:
    runs["handler"] += 1
    return 1


@repeatable
def timed() -> None:
    runs["timed"] += 1
    valid_until(time.time() + 3600)


@repeatable
def over() -> None:
    runs["over"] += 1
    valid_until(time.time())


@router.get("/timed", dependencies=[Depends(timed)])
@cached(namespace="short")
async def get_timed() -> int:
    return 1


@router.get("/over", dependencies=[Depends(timed), Depends(over)])
@cached(namespace="short")
async def get_over() -> int:
    return 1


class Stricter(AuthManager):
    """With a rule of an owner's."""

    def authorize(self, principal: Principal, request: Request) -> None:
        super().authorize(principal, request)
        runs["stricter"] += 1
        if runs["stricter"] > 3:
            raise Forbidden("Three times are enough.")


@router.get("/stricter", dependencies=[Depends(Stricter())])
@cached(namespace="short")
async def get_stricter() -> int:
    return 1


stricter = Stricter()


@repeatable
async def asks_another(request: Request, bearer: Bearer, api_key: KeyHeader) -> None:
    await stricter(request, bearer, api_key)


@router.get("/asks-another", dependencies=[Depends(asks_another)])
@cached(namespace="short")
async def get_asks_another() -> int:
    return 1


def counted(function: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
    """Copies all that the function has, as most decorators do."""

    @wraps(function)
    async def count(*args: Any, **kwargs: Any) -> int:
        runs["decorator"] += 1
        return await function(*args, **kwargs)

    return count


@router.get("/decorated", dependencies=[Depends(plain)])
@counted
@cached(namespace="short")
async def get_decorated() -> int:
    return 1


@cached(namespace="short")
async def get_both() -> int:
    return 1


router.get("/both/decorated")(counted(get_both))
router.get("/both/bare")(get_both)


@cached(namespace="found")
async def find() -> int:
    runs["find"] += 1
    return runs["find"]


@repeatable
async def finding() -> int:
    return await find()


@router.get("/finding", dependencies=[Depends(finding)])
@cached(namespace="short")
async def get_finding() -> int:
    return 1


@cached(namespace="found")
async def find_by(tool: object) -> int:
    runs["uncached"] += 1
    return 1


@repeatable
async def uncached() -> int:
    return await find_by(object())  # no key can name it


@router.get("/uncached", dependencies=[Depends(uncached)])
@cached(namespace="short")
async def get_uncached() -> int:
    return 1


def by_address(_func: object, namespace: str, *, request: Request, **_: object) -> str:
    runs["builder"] += 1
    client = request.client
    return f"{namespace}:{client.host if client else ''}"


@router.get("/built", dependencies=[Depends(plain)])
@cached(namespace="short", key_builder=by_address)
async def get_built() -> int:
    return 1


@repeatable
def tongue(accept_language: Language = "en") -> str:
    return accept_language


@router.get("/language")
@cached(namespace="short")
async def get_language(language: Annotated[str, Depends(tongue)]) -> str:
    return language


partner_key = APIKeyHeader(name="X-Partner")


@repeatable
def partner(key: Annotated[str, Depends(partner_key)]) -> str:
    return key


@router.get("/partner")
@cached(namespace="short")
async def get_partner(who: Annotated[str, Depends(partner)]) -> str:
    return who


@router.get("/me", dependencies=[Depends(plain)])
@cached(namespace="short")
async def get_me(user: CurrentUser) -> int:
    return user.id


@router.get("/kind")
@cached(namespace="short")
async def get_kind(request: Request, response: Response) -> str:
    response.headers["Vary"] = "X-Kind"
    return request.headers["x-kind"]


@router.get("/whoever", dependencies=[Depends(plain)])
@cached(namespace="short")
async def get_whoever(request: Request) -> int:
    user_id: int = request.state.principal.user_id
    return user_id


class Timed(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def count_and_handle(request: Request) -> Response:
            runs["route"] += 1
            return await handle(request)

        return count_and_handle


own_class = APIRouter(prefix="/own", route_class=Timed)


@own_class.get("/class")
@cached(namespace="short")
async def get_own_class() -> int:
    return 1


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    runs.clear()
    return (router, own_class)


async def _ask(client: httpx.AsyncClient, path: str, headers: Headers) -> list[str]:
    """Return the outcomes of five requests."""
    answers = [await client.get(path, headers=headers) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    return [str(outcome(answer)) for answer in answers]


FIVE = ["MISS", *["HIT"] * 4]


@pytest.mark.parametrize(
    ("path", "dependency", "ran"),
    [
        ("/short/plain", "plain", 2),
        ("/short/timed", "timed", 2),
        ("/short/over", "over", 5),
        ("/short/undeclared", "undeclared", 5),
        ("/short/reading", "reading", 5),
        ("/short/decorated", "decorator", 5),
        ("/short/both/decorated", "decorator", 5),
        ("/short/built", "builder", 5),
        ("/short/finding", "find", 1),
        ("/short/uncached", "uncached", 5),
        ("/own/class", "route", 5),
    ],
)
async def test_only_what_may_be_left_out_is(
    client: httpx.AsyncClient, path: str, dependency: str, ran: int
) -> None:
    assert await _ask(client, path, {}) == FIVE
    assert runs[dependency] == ran


async def test_what_is_invalidated_is_asked_for_again(
    client: httpx.AsyncClient,
) -> None:
    for turn in range(1, 4):
        assert await _ask(client, "/short/plain?number=1", {}) == FIVE
        assert runs["handler"] == turn
        await invalidate_namespace("short")


async def test_what_was_found_while_it_was_being_changed_is_found_again(
    client: httpx.AsyncClient,
) -> None:
    engine = running()
    assert engine is not None
    await engine.fence({"found"}, b"writer")
    await _ask(client, "/short/finding", {})
    before = runs["find"]
    await engine.invalidate({"found"}, b"writer")
    await client.get("/short/finding")
    assert runs["find"] == before + 1


@pytest.mark.parametrize(
    "more",
    [
        {"params": {"number": 2}},
        {"params": {"unknown": "x"}},
        {"headers": {"Host": "other"}},
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"X-API-Key": "x"}},
        {"headers": {"Cookie": "a=b"}},
    ],
)
async def test_another_request_goes_through_its_dependencies(
    client: httpx.AsyncClient, more: dict[str, dict[str, str]]
) -> None:
    await _ask(client, "/short/plain", {})
    before = runs["plain"]
    await client.get("/short/plain", **more)  # type: ignore[arg-type]  # one of both
    assert runs["plain"] == before + 1


@pytest.mark.parametrize(
    ("path", "header"),
    [("/short/language", "Accept-Language"), ("/short/partner", "X-Partner")],
)
async def test_a_declared_header_tells_requests_apart(
    client: httpx.AsyncClient, path: str, header: str
) -> None:
    for value in ("one", "two", "one", "two"):
        for _ in range(3):
            answer = await client.get(path, headers={header: value})
            assert answer.json() == value


async def test_nobody_is_answered_with_what_another_one_may_see(
    client: httpx.AsyncClient, user: Person, other: Person, make_key: MakeKey
) -> None:
    key = await make_key(other)
    for _ in range(4):
        for headers, who in (
            (user.headers, user),
            (other.headers, other),
            (key, other),
        ):
            assert (await client.get("/short/me", headers=headers)).json() == who.id
        assert (await client.get("/short/me")).status_code == 401


@pytest.mark.parametrize("path", ["/short/stricter", "/short/asks-another"])
async def test_a_rule_about_who_asks_acts_on_every_request(
    client: httpx.AsyncClient, user: Person, path: str
) -> None:
    answers = [await client.get(path, headers=user.headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 403, 403]
    assert [outcome(answer) for answer in answers[:3]] == ["MISS", "HIT", "HIT"]


async def test_a_route_without_its_functions_decorator_does_not_spare_the_others(
    client: httpx.AsyncClient,
) -> None:
    await _ask(client, "/short/both/bare", {})
    await _ask(client, "/short/both/decorated", {})
    assert runs["decorator"] == 5


async def test_a_change_of_who_asks_acts_at_once(
    client: httpx.AsyncClient, user: Person, admin: Person
) -> None:
    assert await _ask(client, "/short/me", user.headers) == FIVE
    assert runs["plain"] == 5
    ban = await client.post(f"/users/{user.id}/ban", headers=admin.headers)
    assert ban.status_code == 200
    answer = await client.get("/short/me", headers=user.headers)
    assert answer.status_code in (401, 403)


async def test_no_answer_to_who_was_asked_for_his_name_is_remembered(
    app: FastAPI, client: httpx.AsyncClient, user: Person, make_key: MakeKey
) -> None:
    for headers in (user.headers, await make_key(user)):
        await _ask(client, "/short/me", headers)
    assert len(app.state.cache_shortcuts) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "no-store"},
        {"Cache-Control": "max-age=0"},
        {"Pragma": "no-cache"},
        {"Range": "bytes=0-1"},
        {"Content-Length": "0"},
    ],
)
async def test_a_request_that_asks_for_more_goes_through_the_route(
    client: httpx.AsyncClient, headers: Headers
) -> None:
    await _ask(client, "/short/plain", {})
    before = runs["plain"]
    await client.get("/short/plain", headers=headers)
    assert runs["plain"] == before + 1


async def test_conditions_and_head_are_answered_without_the_route(
    client: httpx.AsyncClient,
) -> None:
    await _ask(client, "/short/plain?number=7", {})
    before = runs["plain"]
    answer = await client.get("/short/plain?number=7")
    tag = {"If-None-Match": answer.headers["etag"]}
    same = await client.get("/short/plain?number=7", headers=tag)
    assert (same.status_code, same.content) == (304, b"")
    head = await client.head("/short/plain?number=7")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))
    assert answer.headers["cache-status"].startswith("fastapi; hit; ttl=")
    assert runs["plain"] == before


async def test_an_override_of_a_dependency_counts(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    await _ask(client, "/short/plain", {})
    app.dependency_overrides[plain] = lambda: runs.update(["override"])
    await _ask(client, "/short/plain?number=3", {})
    assert runs["override"] == 5


async def test_a_mounted_application_is_left_alone(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    inner = FastAPI(dependencies=[Depends(undeclared)])
    inner.get("/plain")(get_plain)
    app.mount("/inner", inner)
    await _ask(client, "/inner/plain", {})
    assert runs["undeclared"] == 5


async def test_a_header_that_the_answer_varies_with_tells_requests_apart(
    client: httpx.AsyncClient,
) -> None:
    for kind in ("one", "two", "one", "two"):
        for _ in range(3):
            answer = await client.get("/short/kind", headers={"X-Kind": kind})
            assert answer.json() == kind


async def test_who_asks_may_be_found_by_middleware(app: FastAPI) -> None:
    for number in (1, 2, 1, 2):
        principal = Principal(
            user_id=number,
            email="",
            first_name="",
            last_name="",
            role=Role.user,
            banned=False,
            created_at=utc_now(),
            updated_at=utc_now(),
            scopes=(),
        )

        async def known(
            scope: Scope, receive: Receive, send: Send, who: Principal = principal
        ) -> None:
            scope["state"] = {"principal": who}
            await app(scope, receive, send)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(known), base_url="http://service"
        ) as client:
            for _ in range(3):
                assert (await client.get("/short/whoever")).json() == number


class Seen:
    """Middleware that looks at the scope after the request."""

    found: Scope

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        if scope["type"] == "http":
            Seen.found = scope


@pytest.fixture
async def observed(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Seen(app))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        yield client


async def test_middleware_finds_what_routing_and_dependencies_left(
    observed: httpx.AsyncClient, user: Person
) -> None:
    await _ask(observed, "/short/plain", user.headers)
    before = runs["plain"]
    for method in ("GET", "HEAD"):
        await observed.request(method, "/short/plain", headers=user.headers)
        assert Seen.found["route"].path.endswith("/plain")
        assert Seen.found["endpoint"] is get_plain
    assert runs["plain"] == before


async def test_what_is_remembered_is_bounded_and_holds_no_secret(
    app: FastAPI,
    client: httpx.AsyncClient,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shortcuts, "MOST", 3)
    known = app.state.cache_shortcuts
    for number in range(5):
        await _ask(client, f"/short/plain?number={number}", user.headers)
    assert len(known) == 3
    assert user.headers["Authorization"] not in repr(known._known)
