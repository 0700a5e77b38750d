from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.database import Database
from app.main import create_app
from app.managers.scopes import read_scopes
from app.models import ApiKey, Role
from tests.asgi import lifespan
from tests.people import Headers, MakeKey, Person

URL = "/users/keys"


async def create(
    client: httpx.AsyncClient, headers: Headers, **fields: Any
) -> dict[str, Any]:
    response = await client.post(URL, json={"name": "a key"} | fields, headers=headers)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def carry(created: dict[str, Any]) -> Headers:
    return {"X-API-Key": created["key"]}


class TestCreate:
    async def test_shows_the_key_once_and_stores_no_trace_of_it(
        self, client: httpx.AsyncClient, user: Person, database: Database
    ) -> None:
        created = await create(client, user.headers)
        key = created.pop("key")
        assert key.startswith(f"ak_{user.id}_{created['prefix']}_")
        me = await client.get("/users/me", headers={"X-API-Key": key})
        assert me.json()["id"] == user.id
        listed = await client.get(URL, headers=user.headers)
        assert listed.json() == [created]
        async with database.session(writes=False) as session:
            columns = ApiKey.__table__.columns
            row = (await session.execute(select(*columns))).one()
        secret = key.split("_")[3]
        assert secret[:10] not in str(row)

    async def test_gives_what_the_user_may_read_by_default(
        self, client: httpx.AsyncClient, user: Person, admin: Person
    ) -> None:
        for person, role in ((user, Role.user), (admin, Role.admin)):
            created = await create(client, person.headers)
            assert created["scopes"] == list(read_scopes(role))
            assert {"profile:read", "keys:read"} <= {*created["scopes"]}
            assert ("users:read" in created["scopes"]) == (role is Role.admin)
            assert all(scope.endswith(":read") for scope in created["scopes"])

    async def test_gives_no_scope_that_the_caller_lacks(
        self, client: httpx.AsyncClient, user: Person, make_key: MakeKey
    ) -> None:
        body = {"name": "more", "scopes": ["users:read"]}
        response = await client.post(URL, json=body, headers=user.headers)
        assert response.status_code == 403
        assert "users:read" in response.json()["detail"]
        key = await make_key(user, "keys:write")
        body = {"name": "more", "scopes": ["keys:write", "profile:write"]}
        response = await client.post(URL, json=body, headers=key)
        assert response.status_code == 403
        assert "profile:write" in response.json()["detail"]

    async def test_names_the_scopes_there_are(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        body = {"name": "a key", "scopes": ["everything"]}
        response = await client.post(URL, json=body, headers=user.headers)
        assert response.status_code == 422
        assert "profile:read" in response.text

    async def test_refuses_what_is_no_key(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        changes: list[dict[str, Any]] = [
            {"name": ""},
            {"name": "x" * 101},
            {"scopes": []},
            {"expires_at": "2000-01-01T00:00:00Z"},
            {"expires_at": "2099-01-01T00:00:00"},
            {"key": "ak_1_mine"},
        ]
        for change in changes:
            body = {"name": "a key"} | change
            response = await client.post(URL, json=body, headers=user.headers)
            assert response.status_code == 422, change


class TestList:
    async def test_follows_every_change(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        async def names() -> list[str]:
            response = await client.get(URL, headers=user.headers)
            return [item["name"] for item in response.json()]

        assert await names() == []
        first = await create(client, user.headers, name="first")
        await create(client, user.headers, name="second")
        assert await names() == ["first", "second"]
        url = f"{URL}/{first['id']}"
        await client.patch(url, json={"name": "renamed"}, headers=user.headers)
        assert await names() == ["renamed", "second"]
        await client.delete(url, headers=user.headers)
        assert await names() == ["second"]


class TestOne:
    async def test_belongs_to_its_user_alone(
        self, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        created = await create(client, user.headers)
        url = f"{URL}/{created['id']}"
        shown = await client.get(url, headers=user.headers)
        assert shown.json()["name"] == "a key"
        assert "key" not in shown.json()
        for method in ("GET", "PATCH", "DELETE"):
            response = await client.request(
                method,
                url,
                headers=other.headers,
                json={"name": "mine"} if method == "PATCH" else None,
            )
            assert response.status_code == 404
            assert response.json()["code"] == "api_key_not_found"

    async def test_is_off_while_it_is_inactive(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        created = await create(client, user.headers)
        url = f"{URL}/{created['id']}"
        for active, status in ((True, 200), (False, 401), (True, 200)):
            body = {"active": active}
            response = await client.patch(url, json=body, headers=user.headers)
            assert response.json()["active"] is active
            me = await client.get("/users/me", headers=carry(created))
            assert me.status_code == status

    async def test_changes_only_what_is_sent(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        created = await create(client, user.headers, expires_at="2099-01-01T00:00:00Z")
        del created["key"]
        url = f"{URL}/{created['id']}"
        response = await client.patch(url, json={}, headers=user.headers)
        assert response.json() == created
        body = {"expires_at": None}
        response = await client.patch(url, json=body, headers=user.headers)
        assert response.json() == created | body

    async def test_acts_with_its_scopes_of_now(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        created = await create(client, user.headers)
        me = await client.get("/users/me", headers=carry(created))
        assert me.status_code == 200
        url = f"{URL}/{created['id']}"
        body = {"scopes": ["keys:read"]}
        await client.patch(url, json=body, headers=user.headers)
        me = await client.get("/users/me", headers=carry(created))
        assert me.status_code == 403
        assert "profile:read" in me.json()["detail"]

    async def test_is_gone_when_it_is_deleted(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        created = await create(client, user.headers)
        url = f"{URL}/{created['id']}"
        me = await client.get("/users/me", headers=carry(created))
        assert me.status_code == 200
        response = await client.delete(url, headers=user.headers)
        assert response.status_code == 204
        me = await client.get("/users/me", headers=carry(created))
        assert me.status_code == 401
        assert (await client.get(url, headers=user.headers)).status_code == 404


class TestExpiry:
    async def test_ends_a_key_that_worked_a_moment_ago(
        self, client: httpx.AsyncClient, user: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        created = await create(client, user.headers, expires_at="2099-01-01T00:00:00Z")
        me = await client.get("/users/me", headers=carry(created))
        assert me.status_code == 200
        late = datetime(2099, 1, 1, tzinfo=UTC)
        monkeypatch.setattr("app.managers.auth.utc_now", lambda: late)
        me = await client.get("/users/me", headers=carry(created))
        assert me.status_code == 401

    async def test_of_a_key_bounds_the_keys_it_makes(
        self, client: httpx.AsyncClient, user: Person, make_key: MakeKey
    ) -> None:
        soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        key = await make_key(user, "keys:write", expires_at=soon)
        child = await create(client, key, scopes=["keys:write"])
        assert datetime.fromisoformat(child["expires_at"]) == soon
        later = (soon + timedelta(seconds=1)).isoformat()
        body = {"name": "longer", "scopes": ["keys:write"], "expires_at": later}
        response = await client.post(URL, json=body, headers=key)
        assert response.status_code == 403


class TestByUser:
    async def test_admins_look_after_the_keys_of_others(
        self, client: httpx.AsyncClient, admin: Person, user: Person
    ) -> None:
        url = f"{URL}/by-user/{user.id}"
        headers = admin.headers
        assert (await client.get(url, headers=headers)).json() == []
        response = await client.post(url, json={"name": "help"}, headers=headers)
        assert response.status_code == 201
        created = response.json()
        me = await client.get("/users/me", headers=carry(created))
        assert me.json()["id"] == user.id
        [listed] = (await client.get(url, headers=headers)).json()
        one = f"{url}/{created['id']}"
        assert (await client.get(one, headers=headers)).json() == listed
        body = {"name": "renamed"}
        response = await client.patch(one, json=body, headers=headers)
        assert response.json() == listed | body
        assert (await client.delete(one, headers=headers)).status_code == 204
        assert (await client.get(url, headers=headers)).json() == []

    async def test_a_user_gets_no_scope_of_admins(
        self, client: httpx.AsyncClient, admin: Person, user: Person
    ) -> None:
        body = {"name": "too much", "scopes": ["users:write"]}
        response = await client.post(
            f"{URL}/by-user/{user.id}", json=body, headers=admin.headers
        )
        assert response.status_code == 403

    async def test_knows_only_users_that_are_there(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        url = f"{URL}/by-user/{admin.id + 1}"
        response = await client.get(url, headers=admin.headers)
        assert response.status_code == 404
        response = await client.post(url, json={"name": "x"}, headers=admin.headers)
        assert response.status_code == 404


class TestLastUse:
    async def test_is_written_when_the_service_stops(
        self, app: FastAPI, user: Person, make_key: MakeKey, database: Database
    ) -> None:
        key = await make_key(user)
        unused = await make_key(user)
        second = create_app(app.state.settings)
        async with lifespan(second):
            transport = httpx.ASGITransport(second)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://service"
            ) as client:
                await client.get("/users/me", headers=key)
        async with database.session(writes=False) as session:
            rows = (await session.scalars(select(ApiKey).order_by(ApiKey.id))).all()
        used = {row.prefix: row.last_used_at for row in rows}
        assert used[key["X-API-Key"].split("_")[2]] is not None
        assert used[unused["X-API-Key"].split("_")[2]] is None
