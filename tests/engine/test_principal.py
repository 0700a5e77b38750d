"""An authenticated hit asks the database nothing, and every change acts at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from app.database import Database
from app.database.base import utc_now
from app.managers import auth
from app.models import Role
from tests.engine.answers import outcome
from tests.engine.each import on_one_storage
from tests.people import Headers, LogIn, MakeKey, Person

pytestmark = on_one_storage


@pytest.fixture
def key_id(client: httpx.AsyncClient) -> Any:
    """Return a function that returns the id of a user's only API key."""

    async def find(person: Person) -> int:
        keys = (await client.get("/users/keys", headers=person.headers)).json()
        number: int = keys[0]["id"]
        return number

    return find


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    found: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        found.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


async def _status(client: httpx.AsyncClient, headers: Headers) -> int:
    return (await client.get("/users/me", headers=headers)).status_code


async def test_an_authenticated_hit_runs_no_sql(
    client: httpx.AsyncClient,
    database: Database,
    user: Person,
    admin: Person,
    make_key: MakeKey,
) -> None:
    key = await make_key(admin, "profile:read", "keys:read", "users:read")
    urls = ["/users/me", "/users/keys", "/users/", f"/users/?user_id={user.id}"]
    urls += ["/users/search?field=email&term=person"]
    for headers in (admin.headers, key):
        for url in urls:
            await client.get(url, headers=headers)
        with _statements(database) as statements:
            for url in urls:
                answer = await client.get(url, headers=headers)
                assert (answer.status_code, outcome(answer)) == (200, "HIT")
        assert statements == []


async def test_a_ban_and_its_end_act_on_the_next_request(
    client: httpx.AsyncClient,
    user: Person,
    admin: Person,
    make_key: MakeKey,
    log_in: LogIn,
) -> None:
    key = await make_key(user)
    for _ in range(2):
        assert await _status(client, key) == await _status(client, user.headers) == 200
        ban = f"/users/{user.id}/ban"
        assert (await client.post(ban, headers=admin.headers)).status_code == 200
        assert await _status(client, key) == 403
        assert await _status(client, user.headers) in (401, 403)
        unban = f"/users/{user.id}/unban"
        assert (await client.post(unban, headers=admin.headers)).status_code == 200
        assert await _status(client, key) == 200
        await log_in(user)


async def test_a_new_role_acts_on_the_next_request(
    client: httpx.AsyncClient, user: Person, admin: Person
) -> None:
    async def of_all() -> int:
        return (await client.get("/users/", headers=user.headers)).status_code

    me = await client.get("/users/me", headers=user.headers)
    assert (await of_all(), me.json()["role"]) == (403, Role.user)
    await client.post(f"/users/{user.id}/make-admin", headers=admin.headers)
    me = await client.get("/users/me", headers=user.headers)
    assert (await of_all(), me.json()["role"]) == (200, Role.admin)


async def test_a_new_password_ends_all_other_sessions_at_once(
    client: httpx.AsyncClient, user: Person, log_in: LogIn
) -> None:
    first = user.headers
    await log_in(user)
    assert await _status(client, first) == await _status(client, user.headers) == 200
    body = {"password": "another long password", "current_password": user.password}
    changed = await client.post(
        f"/users/{user.id}/password", json=body, headers=user.headers
    )
    assert changed.status_code == 204
    assert await _status(client, first) == 401
    assert await _status(client, user.headers) == 200


async def test_a_logout_ends_its_session_only(
    client: httpx.AsyncClient, user: Person, log_in: LogIn
) -> None:
    first = user.headers
    await log_in(user)
    assert await _status(client, first) == await _status(client, user.headers) == 200
    assert (await client.post("/logout/", headers=first)).status_code == 200
    assert await _status(client, first) == 401
    assert await _status(client, user.headers) == 200


async def test_a_deleted_user_is_nobody_at_once(
    client: httpx.AsyncClient, user: Person, admin: Person, make_key: MakeKey
) -> None:
    key = await make_key(user)
    assert await _status(client, key) == await _status(client, user.headers) == 200
    gone = await client.delete(f"/users/{user.id}", headers=admin.headers)
    assert gone.status_code == 204
    assert await _status(client, key) == await _status(client, user.headers) == 401


async def test_a_key_is_what_it_was_last_made(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey, key_id: Any
) -> None:
    key = await make_key(user, "profile:read")
    url = f"/users/keys/{await key_id(user)}"
    changes: list[tuple[dict[str, Any], int]] = [
        ({"active": False}, 401),
        ({"active": True}, 200),
        ({"scopes": ["keys:read"]}, 403),
        ({"scopes": ["profile:read"]}, 200),
    ]
    assert await _status(client, key) == 200
    for change, status in changes:
        changed = await client.patch(url, json=change, headers=user.headers)
        assert changed.status_code == 200, changed.text
        assert await _status(client, key) == status, change
    assert (await client.delete(url, headers=user.headers)).status_code == 204
    assert await _status(client, key) == 401


async def test_a_key_expires_though_it_is_remembered(
    client: httpx.AsyncClient,
    user: Person,
    make_key: MakeKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = await make_key(user, expires_at=utc_now() + timedelta(seconds=60))
    for _ in range(3):
        assert await _status(client, key) == 200
    later = utc_now() + timedelta(seconds=61)
    monkeypatch.setattr(auth, "utc_now", lambda: later)
    monkeypatch.setattr(time, "time", later.timestamp)
    assert await _status(client, key) == 401
