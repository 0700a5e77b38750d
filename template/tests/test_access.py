"""Who may call what, with every kind of credentials.

The table is the specification of the template's routes, written by hand: what a route
does is compared with the table, not with the route's own declaration. Yours may be in
it, too. Those that are not are asked by whom no guarded route lets in, and by API keys
that lack their scopes.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import httpx
import jwt
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import delete, update

from app.config import Settings
from app.database import Database
from app.database.base import utc_now
from app.managers.auth import AuthManager
from app.managers.scopes import ALL_SCOPES, role_scopes
from app.managers.tokens import signing_key
from app.models import ApiKey, AuthSession, Role, User
from app.resources.dependencies import Access, access_of, guards, walk
from tests.asgi import filled
from tests.people import Headers, MakeKey, MakeUser, Person

USER_SCOPES = frozenset(role_scopes(Role.user))
ADMIN_SCOPES = frozenset(role_scopes(Role.admin))

# A row that is not there: what gets past the door ends here and changes nothing.
NOBODY = 999_999_999


@dataclass(frozen=True)
class Rule:
    """`who` may call a route, and which scopes, in one text, his credentials need."""

    who: Literal["anyone", "session", "user", "owner", "admin"]
    scope: str = ""

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.scope.split())


ANYONE = Rule("anyone")
RULES = {
    "GET /": ANYONE,
    "GET /livez": ANYONE,
    "GET /readyz": ANYONE,
    "GET /docs": ANYONE,
    "GET /docs/oauth2-redirect": ANYONE,
    "GET /docs/{folder}/{file}": ANYONE,
    "GET /redoc": ANYONE,
    "GET /redoc/{file}": ANYONE,
    "GET /openapi.json": ANYONE,
    "POST /register/": ANYONE,
    "POST /login/": ANYONE,
    "POST /refresh/": ANYONE,
    "GET /users/me/sessions": Rule("session"),
    "DELETE /users/me/sessions": Rule("session"),
    "DELETE /users/me/sessions/{session_id}": Rule("session"),
    "POST /logout/": Rule("session"),
    "GET /users/me": Rule("user", "profile:read"),
    "GET /users/keys": Rule("user", "keys:read"),
    "POST /users/keys": Rule("user", "keys:write"),
    "GET /users/keys/{key_id}": Rule("user", "keys:read"),
    "PATCH /users/keys/{key_id}": Rule("user", "keys:write"),
    "DELETE /users/keys/{key_id}": Rule("user", "keys:write"),
    "GET /users/keys/by-user/{user_id}": Rule("admin", "users:read"),
    "POST /users/keys/by-user/{user_id}": Rule("admin", "users:write"),
    "GET /users/keys/by-user/{user_id}/{key_id}": Rule("admin", "users:read"),
    "PATCH /users/keys/by-user/{user_id}/{key_id}": Rule("admin", "users:write"),
    "DELETE /users/keys/by-user/{user_id}/{key_id}": Rule("admin", "users:write"),
    "GET /users/": Rule("admin", "users:read"),
    "GET /users/search": Rule("admin", "users:read"),
    "PUT /users/{user_id}": Rule("owner", "profile:write"),
    "DELETE /users/{user_id}": Rule("admin", "users:write"),
    "POST /users/{user_id}/ban": Rule("admin", "users:write"),
    "POST /users/{user_id}/unban": Rule("admin", "users:write"),
    "POST /users/{user_id}/demote": Rule("admin", "users:write"),
    "POST /users/{user_id}/make-admin": Rule("admin", " ".join(ADMIN_SCOPES)),
    "POST /users/{user_id}/password": Rule("owner", "profile:write"),
}
QUERIES = {"GET /users/search": {"field": "email", "term": "person"}}


@dataclass(frozen=True)
class Caller:
    """Somebody with credentials. `refused` is what any guarded route tells him."""

    name: str
    headers: Headers
    refused: int | None = None
    id: int = 0
    role: Role = Role.user
    scopes: frozenset[str] = frozenset()
    key: bool = False


def expected(rule: Rule, caller: Caller, user_id: int) -> int | None:
    """Return the status of a refusal, None where the caller may pass."""
    if rule.who == "anyone":
        return None
    if caller.refused:
        return caller.refused
    if rule.who == "session":
        return 403 if caller.key else None
    if rule.who == "owner" and caller.id == user_id and rule.scopes <= caller.scopes:
        return None
    if rule.who in ("owner", "admin"):
        may = caller.role is Role.admin
        scopes = {"users:write"} if rule.who == "owner" else rule.scopes
        return None if may and scopes <= caller.scopes else 403
    return None if rule.scopes <= caller.scopes else 403


@pytest.fixture
async def callers(
    database: Database,
    settings: Settings,
    make_user: MakeUser,
    make_key: MakeKey,
    user: Person,
    admin: Person,
) -> list[Caller]:
    other, banned = await make_user(), await make_user()
    loser, deleted = await make_user(), await make_user()
    demoted = await make_user(Role.admin)
    demoted_key = await make_key(demoted, *ADMIN_SCOPES)
    keys = {name: await make_key(user) for name in ("expired", "inactive", "good")}
    banned_key, deleted_key = await make_key(banned), await make_key(deleted)
    past = utc_now() - timedelta(seconds=1)
    ids = {name: prefix_of(headers) for name, headers in keys.items()}
    async with database.session() as session:
        for statement in (
            update(User).where(User.id == banned.id).values(banned=True),
            update(User).where(User.id == demoted.id).values(role=Role.user),
            delete(User).where(User.id == deleted.id),
            delete(AuthSession).where(AuthSession.user_id == loser.id),
            update(ApiKey)
            .where(ApiKey.prefix == ids["expired"])
            .values(expires_at=past),
            update(ApiKey).where(ApiKey.prefix == ids["inactive"]).values(active=False),
        ):
            await session.execute(statement)
    return [
        Caller("user", user.headers, None, user.id, Role.user, USER_SCOPES),
        Caller("other", other.headers, None, other.id, scopes=USER_SCOPES),
        Caller("admin", admin.headers, None, admin.id, Role.admin, ADMIN_SCOPES),
        *[await key_caller(make_key, user, Role.user, scope) for scope in USER_SCOPES],
        *[
            await key_caller(make_key, admin, Role.admin, scope)
            for scope in ADMIN_SCOPES
        ],
        Caller("demoted", demoted.headers, None, demoted.id, scopes=USER_SCOPES),
        Caller(
            *("demoted by key", demoted_key, None, demoted.id),
            scopes=USER_SCOPES,
            key=True,
        ),
        Caller("anonymous", {}, 401),
        Caller("banned", banned.headers, 403),
        Caller("banned by key", banned_key, 403),
        Caller("deleted", deleted.headers, 401),
        Caller("deleted by key", deleted_key, 401),
        Caller("logged out", loser.headers, 401),
        Caller("expired key", keys["expired"], 401),
        Caller("inactive key", keys["inactive"], 401),
        *(
            Caller(name, {"X-API-Key": text}, 401)
            for name, text in bad_keys(keys["good"])
        ),
        *(
            Caller(name, {"Authorization": text}, 401)
            for name, text in bad_tokens(user, settings)
        ),
        Caller("both", user.headers | keys["good"], 400),
    ]


async def key_caller(
    make_key: MakeKey, person: Person, role: Role, scope: str
) -> Caller:
    headers = await make_key(person, scope)
    name = f"{role} by key with {scope}"
    return Caller(name, headers, None, person.id, role, frozenset({scope}), key=True)


def prefix_of(headers: Headers) -> str:
    return headers["X-API-Key"].split("_")[2]


def bad_keys(good: Headers) -> Iterator[tuple[str, str]]:
    """Yield keys that are not what they seem; those with a right checksum, too."""
    text = good["X-API-Key"]
    start, user_id, prefix, secret = text.split("_")
    letter = "a" if secret[0] != "a" else "b"
    yield "mistyped key", "_".join([start, user_id, prefix, letter + secret[1:]])
    yield "cut off key", text[:-1]
    yield "no key", "nonsense"
    for name, parts in {
        "guessed key": [start, user_id, prefix, letter + secret[1:-8]],
        "key of another user": [start, str(int(user_id) + 1), prefix, secret[:-8]],
        "unknown key": [start, user_id, prefix[::-1], secret[:-8]],
    }.items():
        body = "_".join(parts)
        yield name, f"{body}{zlib.crc32(body.encode()):08x}"


def bad_tokens(user: Person, settings: Settings) -> Iterator[tuple[str, str]]:
    token = user.headers["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    key = signing_key(settings)
    yield "refresh token", f"Bearer {user.refresh}"
    yield "no token", "Bearer nonsense"
    yield "no scheme", token
    yield "basic", "Basic YTpi"
    yield "unsigned", f"Bearer {jwt.encode(claims, None, 'none')}"
    yield "signed by another", f"Bearer {jwt.encode(claims, b'x' * 32, 'HS256')}"
    yield "other algorithm", f"Bearer {jwt.encode(claims, key * 2, 'HS512')}"
    for name, changes in {
        "expired token": {"exp": claims["iat"] - 1},
        "token of another user": {"sub": str(user.id + 1)},
        "token of no user": {"sub": "one"},
        "token without type": {"type": ""},
        "token of no session": {"sid": "0" * 32},
    }.items():
        yield name, f"Bearer {jwt.encode(claims | changes, key, 'HS256')}"


def test_the_routes_of_the_table_are_served(app: FastAPI) -> None:
    served = {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or {"ANY"}) - {"HEAD"}
    }
    assert set(RULES) <= served


def test_only_admins_have_the_scopes_of_admins() -> None:
    shipped = {"profile:read", "profile:write", "keys:read", "keys:write"}
    assert shipped <= USER_SCOPES
    assert not {"users:read", "users:write"} & USER_SCOPES
    assert frozenset(ALL_SCOPES) == ADMIN_SCOPES


async def test_nobody_gets_further_than_the_table_says(
    client: httpx.AsyncClient, callers: list[Caller], user: Person
) -> None:
    surprises = []
    # Who logs out has no token for the rest.
    for name, rule in sorted(RULES.items(), key=lambda item: item[1].who == "session"):
        # Those who may come first: what they get must not be kept for the others.
        calls = [(caller, NOBODY) for caller in callers]
        let_in = [caller for caller in callers if not caller.refused]
        for caller in let_in if "{user_id}" in name else []:
            if rule.who == "owner" or expected(rule, caller, user.id):
                calls.append((caller, user.id))
        for caller, user_id in calls:
            response = await call(client, name, caller, user_id)
            refusal = expected(rule, caller, user_id)
            if not as_expected(response, refusal):
                surprises.append(
                    f"{name} by {caller.name} on {user_id}: {response.status_code}"
                    f" instead of {refusal or 'success'}: {response.text}"
                )
    assert not surprises, "\n".join(surprises)


def test_every_route_says_who_may_call_it(app: FastAPI) -> None:
    """Yours, too. Nothing is open because somebody forgot to close it."""
    undeclared = [
        path for path, route in walk(app.routes) if not access_of(route).declared
    ]
    assert not undeclared, (
        f"{', '.join(undeclared)}: anyone may call this. In the decorator, or in"
        " APIRouter(), write dependencies=[ANYONE] if that is meant, else"
        ' dependencies=[Depends(AuthManager("profile:read"))], with the scope that'
        " an API key needs. ANYONE is in app/resources/dependencies.py. Where a"
        " function of yours checks the caller, have it depend on one of FastAPI's"
        " security classes, such as APIKeyHeader."
    )


@pytest.fixture
def guarded(app: FastAPI) -> dict[str, Access]:
    """Return who may use which guarded route, those of mounted applications, too.

    Not where a guard of your own decides who is nobody.
    """
    return {
        f"{method} {path}": access_of(route)
        for path, route in walk(app.routes)
        if route.methods and (found := guards(route.dependant))
        if all(type(each).__call__ is AuthManager.__call__ for each, _ in found)
        for method in route.methods
    }


async def test_no_guarded_route_lets_in_who_is_nobody(
    client: httpx.AsyncClient, callers: list[Caller], guarded: dict[str, Access]
) -> None:
    assert guarded.keys() >= {
        name for name, rule in RULES.items() if rule.who == "admin"
    }
    for name in sorted(guarded.keys() - RULES.keys()):
        for caller in callers:
            if caller.refused:
                response = await call(client, name, caller, NOBODY)
                assert response.is_client_error, (name, caller.name)


async def test_no_guarded_route_lets_in_an_api_key_without_its_scopes(
    client: httpx.AsyncClient, callers: list[Caller], guarded: dict[str, Access]
) -> None:
    """And none at all where the route names no scope, unless it says that all may."""
    for name, access in sorted(guarded.items()):
        for caller in callers:
            able = access.api_keys == "any" or caller.scopes.intersection(access.scopes)
            if caller.key and (access.api_keys == "none" or not able):
                response = await call(client, name, caller, NOBODY)
                assert response.status_code == 403, (name, caller.name)


async def call(
    client: httpx.AsyncClient, name: str, caller: Caller, user_id: int
) -> httpx.Response:
    method, path = name.split()
    # Parameters of yours are filled, too, before those of the template.
    path = filled(path, {"user_id": "{user_id}", "key_id": "{key_id}"}, NOBODY)
    return await client.request(
        method,
        path.format(user_id=user_id, key_id=NOBODY),
        params=QUERIES.get(name),
        headers=caller.headers,
        # No body that a route takes: who passes is told so, and changes nothing.
        json={} if method in ("POST", "PUT", "PATCH") else None,
    )


def as_expected(response: httpx.Response, refusal: int | None) -> bool:
    if refusal is None:
        return response.status_code in (200, 204, 404, 422)
    says_how = refusal != 401 or "WWW-Authenticate" in response.headers
    return response.status_code == refusal and says_how
