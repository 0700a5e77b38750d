"""Your routes are closed to API keys until they say which may use them.

`test_access.py` holds all routes of the service to that; here are some as you may have
them, so that there are some.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope

from app.cache import cached
from app.commands.routes import describe
from app.config import Settings
from app.errors import Forbidden, install_error_handlers
from app.main import create_app
from app.managers.auth import AuthManager, CurrentUser, Principal, SelfOrAdmin
from app.managers.scopes import ALL_SCOPES
from app.models import User
from app.resources.dependencies import ANY_USER, ANYONE, access_of, walk
from tests.asgi import lifespan, match_first
from tests.people import Headers, MakeKey, Person


class Forgetful(AuthManager):
    """A guard of yours that does not ask what the one of the template does."""

    def __init__(self, *scopes: str) -> None:
        if scopes:
            super().__init__(*scopes)

    def authorize(self, principal: Principal, request: HTTPConnection) -> None:
        if not principal.email.startswith("person"):
            raise Forbidden


class Own(SelfOrAdmin):
    own_scope = "keys:write"


WRITES_KEYS = AuthManager("keys:write")
GUARDS = {
    # No key may use these, whatever its scopes are.
    "/value": Depends(AuthManager()),
    "/admin": Depends(AuthManager(admin=True)),
    "/security": Security(AuthManager()),
    "/forgetful": Depends(Forgetful()),
    # These have to be given the scope that they name.
    "/named": Depends(WRITES_KEYS),
    "/named/security": Security(AuthManager(), scopes=["keys:write"]),
    "/named/forgetful": Depends(Forgetful("keys:write")),
    "/named/own/{user_id}": Depends(Own()),
    # And these are open.
    "/any": Depends(AuthManager(any_key=True)),
    "/anyone": ANYONE,
    "/undeclared": None,
}
PREFIX = "/like-yours"


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield an application that has started, with a router more, and one mounted."""
    app = create_app(settings)
    router, closed = APIRouter(prefix=PREFIX), APIRouter(dependencies=[ANY_USER])
    for path, guard in GUARDS.items():
        router.get(path, dependencies=[guard] if guard else [])(nothing)

    @router.get("/current")
    async def current(user: CurrentUser) -> int:
        return user.id

    @closed.get("/router")
    async def named(user: Annotated[User, Depends(WRITES_KEYS)]) -> int:
        return user.id

    @router.get("/cached", dependencies=[ANYONE])
    @cached()
    async def is_cached() -> None: ...

    @router.websocket("/websocket")
    async def websocket(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.close(reason=user.email)

    router.include_router(closed)
    app.include_router(router)
    mounted = FastAPI(dependencies=[ANY_USER])
    mounted.state = app.state
    install_error_handlers(mounted)
    mounted.get("/mounted")(nothing)
    app.mount(f"{PREFIX}/below", mounted)
    match_first(app, 2)
    async with lifespan(app):
        yield app


async def nothing() -> None: ...


def test_a_route_says_who_may_call_it_also_while_it_is_served(app: FastAPI) -> None:
    found = {path: access_of(route).declared for path, route in walk(app.routes)}
    assert found[f"{PREFIX}/anyone"]
    assert found[f"{PREFIX}/cached"]
    assert not found[f"{PREFIX}/undeclared"]


@pytest.mark.parametrize(
    "path",
    [
        *("/value", "/security", "/forgetful", "/admin"),
        *("/current", "/router", "/below/mounted"),
    ],
)
async def test_a_route_that_names_no_scope_lets_no_key_in(
    client: httpx.AsyncClient, admin: Person, make_key: MakeKey, path: str
) -> None:
    for scopes in ([], ["keys:write"], ALL_SCOPES):
        key = await make_key(admin, *scopes)
        answer = await client.get(PREFIX + path, headers=key)
        assert answer.status_code == 403, (scopes, answer.text)
        assert answer.json()["code"] == "no_scope"
    answer = await client.get(PREFIX + path, headers=admin.headers)
    assert answer.status_code == 200


async def test_the_refusal_says_how_to_let_keys_in(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey
) -> None:
    headers = await make_key(user)
    answer = await client.get(f"{PREFIX}/current", headers=headers)
    assert answer.headers["Content-Type"] == "application/problem+json"
    for way in ('AuthManager("profile:read")', "AuthManager(any_key=True)"):
        assert way in answer.json()["detail"]


@pytest.mark.parametrize("path", ["", "/security", "/forgetful", "/own/{user_id}"])
async def test_a_key_needs_the_scope_that_is_named(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey, path: str
) -> None:
    url = f"{PREFIX}/named{path.format(user_id=user.id)}"
    for scopes in ([], ["profile:read", "profile:write"]):
        answer = await client.get(url, headers=await make_key(user, *scopes))
        assert answer.status_code == 403
        assert answer.json()["code"] == "missing_scope"
        assert "keys:write" in answer.json()["detail"]
    for headers in (await make_key(user, "keys:write"), user.headers):
        assert (await client.get(url, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/any", "/anyone", "/undeclared"])
async def test_a_route_that_says_so_lets_every_key_in(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey, path: str
) -> None:
    key = await make_key(user)
    assert (await client.get(PREFIX + path, headers=key)).status_code == 200
    anonymous = await client.get(PREFIX + path)
    assert anonymous.status_code == (401 if path == "/any" else 200)


async def test_a_websocket_is_guarded_by_the_same(
    app: FastAPI, user: Person, make_key: MakeKey
) -> None:
    async def first_answer(headers: Headers) -> Message:
        sent: list[Message] = []
        scope: Scope = {
            "type": "websocket",
            "path": f"{PREFIX}/websocket",
            "query_string": b"",
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in headers.items()
            ],
            "extensions": {"websocket.http.response": {}},
            "state": {},
        }

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]

    assert (await first_answer(user.headers))["type"] == "websocket.accept"
    for headers, status in ((await make_key(user), 403), ({}, 401)):
        refused = await first_answer(headers)
        assert refused["type"] == "websocket.http.response.start"
        assert refused["status"] == status


def test_a_guard_is_made_with_what_makes_sense() -> None:
    with pytest.raises(ValueError, match=r"app/managers/scopes\.py"):
        AuthManager("keys:eat")
    with pytest.raises(ValueError, match="any_key"):
        AuthManager("keys:read", any_key=True)


def test_the_list_of_routes_knows_what_is_open(app: FastAPI) -> None:
    rows = {row.path.removeprefix(PREFIX): row for row in describe(app)}
    more = ["/current", "/router", "/websocket", "/below/mounted"]
    keys = {path: rows[path].api_keys for path in (*GUARDS, *more)}
    is_open = {"/any", "/anyone", "/undeclared"}
    assert {path for path, may in keys.items() if may == "any"} == is_open
    named = {path for path in GUARDS if "named" in path}
    assert {path for path, may in keys.items() if may == "by scope"} == named
    assert rows["/named/own/{user_id}"].scopes == ["keys:write", "users:write"]
    assert not rows["/undeclared"].declared
    assert "OPEN: not declared" in rows["/undeclared"].cells()
    assert "OPEN: any API key" in rows["/any"].cells()
    assert "keys:write, no API key" in rows["/router"].cells()
