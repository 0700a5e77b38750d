"""C5: what is one principal's own is never given to another."""

import logging
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from pydantic import BaseModel, SecretStr
from sqlalchemy import text

from app.cache import cached, paginated_key_builder, user_scoped_key_builder
from app.config import Settings
from app.database import Database
from app.managers.auth import AuthManager, CurrentPrincipal
from app.managers.scopes import Scope
from app.models import User
from tests.engine.answers import cached_paths, contents, outcome
from tests.engine.each import on_one_storage
from tests.people import Headers, MakeKey, Person

pytestmark = on_one_storage


router = APIRouter(prefix="/private")
said = APIRouter(prefix="/said")  # whose answers say that they are private

# A key of any scopes.
CurrentUser = Annotated[User, Depends(AuthManager(any_key=True))]

NO_STORE = {"Cache-Control": "no-store"}


def _secrets_of(request: Request) -> dict[str, str]:
    """What the request was sent with, as a client may see it again."""
    names = ("authorization", "cookie", "x-api-key")
    return {
        name: sha256(request.headers.get(name, "").encode()).hexdigest()
        for name in names
    }


class Tenant:
    """What a dependency makes of a header; no key can name it."""

    def __init__(self, x_tenant: Annotated[str, Header()] = "") -> None:
        self.name = x_tenant


class Door(BaseModel):
    pin: SecretStr


@router.get("/credentials")
@cached()
async def credentials(request: Request) -> dict[str, str]:
    return _secrets_of(request)


@router.get("/sync-credentials")
@cached()
def sync_credentials(request: Request) -> dict[str, str]:
    return _secrets_of(request)


@router.get("/varying")
@cached()
async def varying(request: Request, response: Response) -> dict[str, str]:
    response.headers["Vary"] = "Authorization"
    response.headers.append("Vary", "X-API-Key, Cookie")
    return _secrets_of(request)


@router.get("/profile")
@cached()
async def profile(user: CurrentUser) -> str:
    return user.email


@router.get("/scopes")
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def scopes(_: CurrentUser, principal: CurrentPrincipal) -> dict[str, Any]:
    return {
        "scopes": principal.scopes,
        "session": principal.session_id,
        "key": principal.key_id,
    }


@router.get("/notes")
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def notes(user: CurrentUser, user_id: int | None = None) -> str:
    return f"what {user.email} wrote about {user_id}"


@router.get("/of/{user_id}")
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def of(request: Request, user: CurrentUser) -> str:
    return f"{user.email} asks for {request.path_params['user_id']}"


@router.get("/tenant")
@cached()
async def tenant(tenant: Annotated[Tenant, Depends()]) -> str:
    return tenant.name


@router.get("/pin")
@cached()
async def pin(pin: Annotated[SecretStr | None, Header()] = None) -> str:
    return sha256(pin.get_secret_value().encode()).hexdigest() if pin else ""


@router.get("/door")
@cached()
async def door(door: Annotated[Door, Header()]) -> str:
    return sha256(door.pin.get_secret_value().encode()).hexdigest()


@router.get("/here")
@router.get("/there")
@cached()
async def place(request: Request) -> str:
    return str(request.url.replace(query=""))


def _own_key(*_: object, **__: object) -> str:
    return "private:shared"


def _private() -> Response:
    return Response("x", headers={"Cache-Control": "private, max-age=60"})


@said.get("/to-everybody")
@cached(namespace="private", key_builder=paginated_key_builder)
async def said_to_everybody() -> Response:
    return _private()


@said.get("/under-an-own-key")
@cached(key_builder=_own_key)
async def said_under_an_own_key() -> Response:
    return _private()


@said.get("/to-who-asks")
@cached()
async def said_to_who_asks(user: CurrentUser) -> Response:
    return _private()


@said.get("/to-a-user")
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def said_to_a_user(user: CurrentUser) -> Response:
    return _private()


@said.get("/to-whoever-comes")
@cached()
async def said_to_whoever_comes() -> Response:
    return _private()


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return router, said


@pytest.fixture
async def callers(
    user: Person, other: Person, admin: Person, make_key: MakeKey
) -> list[Headers]:
    """Return what users show: a token, an API key or a cookie each."""
    found: list[Headers] = [{}]
    for person in (user, other, admin):
        cookie = {"Cookie": f"session=of-{person.id}"}
        found += [person.headers, await make_key(person), cookie]
    return found


async def test_no_route_answers_with_what_is_anothers(
    app: FastAPI, client: httpx.AsyncClient, callers: list[Headers], user: Person
) -> None:
    for path in cached_paths(app):
        query = "?field=role&term=e" if path.endswith("/search") else ""
        url = path.format(user_id=user.id, key_id=1) + query
        truth = [await client.get(url, headers=c | NO_STORE) for c in callers]
        first = [await client.get(url, headers=caller) for caller in callers]
        tags = {answer.headers.get("etag") for answer in first} - {None}
        for caller, true, before in zip(callers, truth, first, strict=True):
            own_tag = before.headers.get("etag")
            foreign = ", ".join(tags - {own_tag}) or '"none"'
            again = await client.get(url, headers=caller)
            asked = await client.get(url, headers=caller | {"If-None-Match": foreign})
            for answer in (before, again, asked):
                assert answer.status_code == true.status_code, (url, caller)
                assert answer.content == true.content, (url, caller)
                assert answer.headers.get("etag") == own_tag
            if true.status_code == 200 and not path.startswith("/said/"):
                assert outcome(again) == "HIT"


@pytest.mark.parametrize("query", ["user_id={other}", "page=1&user_id={other}", "x=1"])
async def test_a_users_own_answer_stays_his_own_whatever_the_query(
    client: httpx.AsyncClient, user: Person, other: Person, query: str
) -> None:
    query = query.format(other=other.id)
    for path in ("/users/me", "/private/profile", "/private/notes", "/private/of/7"):
        for person in (user, other, user):
            answer = await client.get(f"{path}?{query}", headers=person.headers)
            assert person.email in answer.text


async def test_parameters_that_only_the_path_has_are_told_apart(
    client: httpx.AsyncClient, user: Person
) -> None:
    for number in ("5", "6", "5"):
        answer = await client.get(f"/private/of/{number}", headers=user.headers)
        assert answer.json().endswith(number)


async def test_each_way_to_write_an_id_is_that_user_and_is_invalidated(
    client: httpx.AsyncClient, user: Person, other: Person, admin: Person
) -> None:
    number = other.id
    forms = [
        f"user_id={number}",
        f"user_id=0{number}",
        f"user_id=%2B{number}",
        f"user_id=%20{number}",
        f"user_id={number}.0",
        f"user_id={user.id}&user_id={number}",
        f"user_id={number}&page=2&unknown=1",
        f"unknown=1&page=2&user_id={number}",
    ]
    for name in ("Ada", "Grace"):
        body = {"email": other.email, "first_name": name, "last_name": "L"}
        changed = await client.put(f"/users/{number}", json=body, headers=other.headers)
        assert changed.status_code == 200
        for form in forms * 2:
            answer = await client.get(f"/users/?{form}", headers=admin.headers)
            assert (answer.json()["id"], answer.json()["first_name"]) == (number, name)
    zero = await client.get("/users/?user_id=0", headers=admin.headers)
    assert zero.status_code == 422
    everyone = await client.get("/users/", headers=admin.headers)
    assert everyone.json()["total"] == 3


async def test_the_order_of_parameters_does_not_matter(
    client: httpx.AsyncClient, admin: Person
) -> None:
    await client.get("/users/?page=1&size=2", headers=admin.headers)
    same = await client.get("/users/?size=2&page=01", headers=admin.headers)
    other = await client.get("/users/?size=1&page=1", headers=admin.headers)
    assert (outcome(same), outcome(other)) == ("HIT", "MISS")
    assert other.json()["size"] == 1


async def test_keys_of_one_user_see_and_may_do_what_their_scopes_say(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey
) -> None:
    allowed: Scope = "profile:read"
    narrow, wide = await make_key(user, "keys:read"), await make_key(user, allowed)
    assert (await client.get("/users/me", headers=wide)).status_code == 200
    assert (await client.get("/users/me", headers=narrow)).status_code == 403
    seen = [
        (await client.get("/private/scopes", headers=headers)).json()
        for headers in (narrow, wide, user.headers, wide, narrow)
    ]
    assert [one["scopes"] for one in (seen[0], seen[1])] == [["keys:read"], [allowed]]
    assert seen[2]["session"]
    assert (seen[3], seen[4]) == (seen[1], seen[0])


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/private/here", "Host"),
        ("/private/tenant", "X-Tenant"),
        ("/private/pin", "Pin"),
        ("/private/door", "Pin"),
    ],
)
async def test_a_header_that_the_answer_depends_on_tells_requests_apart(
    client: httpx.AsyncClient, path: str, header: str
) -> None:
    seen = [
        (await client.get(path, headers={header: value})).text
        for value in ("one", "two", "one", "two")
    ]
    assert seen[0] != seen[1]
    assert seen[2:] == seen[:2]


async def test_one_function_at_two_paths_has_two_answers(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/private/here", "/private/there", "/private/here"):
        assert (await client.get(path)).json().endswith(path)


async def test_shared_caches_are_told_to_keep_answers_apart(
    client: httpx.AsyncClient, user: Person
) -> None:
    for path in ("/users/me", "/private/credentials"):
        for _ in range(2):
            answer = await client.get(path, headers=user.headers)
            assert answer.headers["cache-control"] == "private, no-cache"
            named = answer.headers["vary"].lower().split(", ")
            assert {"authorization", "cookie", "x-api-key"}.issubset(named)


@pytest.mark.parametrize(
    ("path", "with_token", "without"),
    [
        ("to-everybody", "MISS", "MISS"),
        ("under-an-own-key", "MISS", "MISS"),
        ("to-who-asks", "HIT", None),
        ("to-a-user", "HIT", None),
        ("to-whoever-comes", "HIT", "MISS"),
    ],
)
async def test_what_is_said_to_be_private_is_stored_only_for_who_asked(
    client: httpx.AsyncClient,
    user: Person,
    path: str,
    with_token: str,
    without: str | None,
) -> None:
    """RFC 9111 5.2.2.7: under a key that users share, we are a shared cache."""
    for headers, expected in ((user.headers, with_token), ({}, without)):
        answers = [await client.get(f"/said/{path}", headers=headers) for _ in range(2)]
        assert outcome(answers[1]) == expected
        if expected == "MISS":
            assert "stored" not in answers[0].headers["cache-status"].split("; ")


async def test_no_secret_is_in_the_store_or_the_log(
    app: FastAPI,
    client: httpx.AsyncClient,
    callers: list[Headers],
    database: Database,
    settings: Settings,
    storage: str,
    user: Person,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "app.cache")
    for path in cached_paths(app):
        url = path.format(user_id=user.id, key_id=1)
        for caller in callers:
            sent = caller | {"Pin": "pin-4711"}
            await client.get(f"{url}?token=query-4711&field=role&term=e", headers=sent)
    async with database.session(writes=False) as session:
        hashes = [
            *await session.scalars(text("SELECT password_hash FROM users")),
            *await session.scalars(text("SELECT key_hash FROM api_keys")),
        ]
    shown = [value.rpartition(" ")[2] for c in callers for value in c.values()]
    known = [settings.secret_key.get_secret_value(), user.password, user.refresh]
    stored = await contents(storage)
    assert user.email.encode() in stored
    for secret in (*hashes, *shown, *known, "query-4711", "pin-4711"):
        assert secret.encode() not in stored
        assert secret not in caplog.text
