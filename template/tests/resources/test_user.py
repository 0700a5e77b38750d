import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.database import Database
from app.managers.scopes import role_scopes
from app.models import Role, User
from tests.people import PASSWORD, LogIn, MakeKey, MakeUser, Person

MAX_ID = 2**63 - 1


def profile(**changes: str) -> dict[str, str]:
    names = {"first_name": "Grace", "last_name": "Hopper"}
    return {"email": "grace@example.com"} | names | changes


async def status_of_me(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    return (await client.get("/users/me", headers=headers)).status_code


class TestMe:
    async def test_refuses_anonymous_requests(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/users/me")
        assert response.status_code == 401
        assert response.headers["Content-Type"] == "application/problem+json"

    async def test_shows_the_caller_without_secrets(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        response = await client.get("/users/me", headers=user.headers)
        assert response.status_code == 200
        shown = response.json()
        assert set(shown) == {
            *("id", "email", "first_name", "last_name", "role", "banned"),
            *("created_at", "updated_at"),
        }
        assert (shown["id"], shown["email"]) == (user.id, user.email)
        assert shown["created_at"].endswith("Z")

    async def test_shows_each_caller_himself(
        self, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        for person in (user, other, user, other):
            response = await client.get("/users/me", headers=person.headers)
            assert response.json()["id"] == person.id


class TestList:
    async def test_pages_through_all_users(
        self, client: httpx.AsyncClient, admin: Person, make_user: MakeUser
    ) -> None:
        ids = [admin.id] + [(await make_user()).id for _ in range(4)]
        seen = []
        for page in (1, 2, 3, 4):
            response = await client.get(
                "/users/", params={"page": page, "size": 2}, headers=admin.headers
            )
            body = response.json()
            assert (body["total"], body["pages"], body["size"]) == (5, 3, 2)
            assert body["page"] == page
            seen += [item["id"] for item in body["items"]]
        assert seen == ids

    async def test_shows_one_user(
        self, client: httpx.AsyncClient, admin: Person, user: Person
    ) -> None:
        response = await client.get(
            "/users/", params={"user_id": user.id}, headers=admin.headers
        )
        assert response.json()["email"] == user.email

    async def test_knows_no_other_user(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        for user_id in (admin.id + 1, MAX_ID):
            response = await client.get(
                "/users/", params={"user_id": user_id}, headers=admin.headers
            )
            assert response.status_code == 404
            assert response.json()["code"] == "user_not_found"

    async def test_refuses_what_is_no_page(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        for query in (
            {"page": "0"},
            {"page": str(2**63)},
            {"size": "0"},
            {"size": "101"},
            {"user_id": "0"},
            {"user_id": str(2**63)},
        ):
            response = await client.get("/users/", params=query, headers=admin.headers)
            assert response.status_code == 422, query

    async def test_the_last_page_of_all_is_empty(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        last = {"page": MAX_ID // 100, "size": 100}
        response = await client.get("/users/", params=last, headers=admin.headers)
        assert response.status_code == 200
        assert response.json()["items"] == []

    async def test_follows_every_change(
        self, client: httpx.AsyncClient, admin: Person, user: Person
    ) -> None:
        async def listed() -> list[Any]:
            response = await client.get("/users/", headers=admin.headers)
            return [
                (item["first_name"], item["role"], item["banned"])
                for item in response.json()["items"]
                if item["id"] == user.id
            ]

        name = (await listed())[0][0]
        url = f"/users/{user.id}"
        headers = admin.headers
        await client.post(f"{url}/ban", headers=headers)
        assert await listed() == [(name, "user", True)]
        await client.post(f"{url}/unban", headers=headers)
        assert await listed() == [(name, "user", False)]
        await client.put(url, json=profile(), headers=headers)
        assert await listed() == [("Grace", "user", False)]
        await client.post(f"{url}/make-admin", headers=headers)
        assert await listed() == [("Grace", "admin", False)]
        await client.delete(url, headers=headers)
        assert await listed() == []


class TestSearch:
    async def test_finds_parts_in_any_case(
        self, client: httpx.AsyncClient, admin: Person, user: Person
    ) -> None:
        names = profile(
            email="äda%percent@example.com", first_name="Ädä", last_name="O'Brien"
        )
        response = await client.put(
            f"/users/{user.id}", json=names, headers=user.headers
        )
        assert response.status_code == 200, response.text
        for field, term, found in (
            ("email", "ÄDA%", 1),
            ("email", "%", 1),
            ("first_name", "ädä", 1),
            ("first_name", "_", 0),
            ("first_name", "\\", 0),
            ("last_name", "o'br", 1),
            ("last_name", "nobody", 0),
            ("role", "admin", 1),
            ("role", "user", 1),
        ):
            query = {"field": field, "term": term}
            response = await client.get(
                "/users/search", params=query, headers=admin.headers
            )
            assert response.status_code == 200, query
            assert response.json()["total"] == found, query

    async def test_refuses_a_secret_column(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        query = {"field": "password_hash", "term": "argon2"}
        response = await client.get(
            "/users/search", params=query, headers=admin.headers
        )
        assert response.status_code == 422


class TestUpdate:
    async def test_changes_ones_own_profile(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        await client.get("/users/me", headers=user.headers)
        response = await client.put(
            f"/users/{user.id}", json=profile(), headers=user.headers
        )
        assert response.status_code == 200
        me = await client.get("/users/me", headers=user.headers)
        assert me.json() == response.json()
        assert me.json()["first_name"] == "Grace"

    async def test_refuses_a_taken_address(
        self, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        response = await client.put(
            f"/users/{user.id}",
            json=profile(email=other.email),
            headers=user.headers,
        )
        assert response.status_code == 409

    async def test_gives_nobody_a_role(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        response = await client.put(
            f"/users/{user.id}", json=profile(role="admin"), headers=user.headers
        )
        assert response.status_code == 422


class TestDelete:
    async def test_takes_sessions_and_keys_along(
        self,
        client: httpx.AsyncClient,
        admin: Person,
        user: Person,
        make_key: MakeKey,
    ) -> None:
        key = await make_key(user)
        assert await status_of_me(client, key) == 200
        assert await status_of_me(client, user.headers) == 200
        response = await client.delete(f"/users/{user.id}", headers=admin.headers)
        assert response.status_code == 204
        assert await status_of_me(client, key) == 401
        assert await status_of_me(client, user.headers) == 401

    async def test_gives_the_id_to_nobody_else(
        self,
        client: httpx.AsyncClient,
        admin: Person,
        user: Person,
        make_user: MakeUser,
    ) -> None:
        await client.delete(f"/users/{user.id}", headers=admin.headers)
        assert (await make_user()).id != user.id


class TestLastAdmin:
    async def test_cannot_remove_himself(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        url = f"/users/{admin.id}"
        for method, path in (("DELETE", url), ("POST", f"{url}/ban")):
            response = await client.request(method, path, headers=admin.headers)
            assert response.status_code == 409, path
            assert await status_of_me(client, admin.headers) == 200

    async def test_stays_when_two_admins_remove_each_other(
        self, client: httpx.AsyncClient, admin: Person, make_user: MakeUser
    ) -> None:
        second = await make_user(Role.admin)
        responses = await asyncio.gather(
            client.post(f"/users/{second.id}/ban", headers=admin.headers),
            client.delete(f"/users/{admin.id}", headers=second.headers),
        )
        left = [await status_of_me(client, each.headers) for each in (admin, second)]
        assert left.count(200) == 1, [response.text for response in responses]

    async def test_stays_when_two_admins_are_demoted_at_once(
        self,
        client: httpx.AsyncClient,
        database: Database,
        admin: Person,
        make_user: MakeUser,
    ) -> None:
        second = await make_user(Role.admin)
        for each in (admin, second):
            await client.get("/users/me", headers=each.headers)
        # Neither is ahead because the other one has to connect first.
        async with database.engine.connect() as one, database.engine.connect() as two:
            await asyncio.gather(*(each.execute(select(1)) for each in (one, two)))
        responses = await asyncio.gather(
            *(
                client.post(f"/users/{each.id}/demote", headers=each.headers)
                for each in (admin, second)
            )
        )
        statuses = sorted(response.status_code for response in responses)
        assert statuses == [200, 409]
        people = [admin, second]
        lists = [await client.get("/users/", headers=each.headers) for each in people]
        assert sorted(each.status_code for each in lists) == [200, 403]


class TestDemote:
    async def test_acts_on_the_next_request(
        self, client: httpx.AsyncClient, admin: Person, make_user: MakeUser
    ) -> None:
        second = await make_user(Role.admin)
        url = f"/users/{second.id}/demote"
        for person, status in ((second, 200), (admin, 200)):
            response = await client.get("/users/", headers=person.headers)
            assert response.status_code == status
        response = await client.post(url, headers=admin.headers)
        assert (response.status_code, response.json()["role"]) == (200, "user")
        response = await client.get("/users/", headers=second.headers)
        assert response.status_code == 403

    async def test_keeps_the_last_admin(
        self, client: httpx.AsyncClient, admin: Person, make_user: MakeUser
    ) -> None:
        await make_user(Role.admin, banned=True)  # who is of no help
        url = f"/users/{admin.id}/demote"
        response = await client.post(url, headers=admin.headers)
        assert (response.status_code, response.json()["code"]) == (409, "last_admin")


class TestBan:
    async def test_acts_on_the_next_request(
        self,
        client: httpx.AsyncClient,
        admin: Person,
        user: Person,
        make_key: MakeKey,
        log_in: LogIn,
    ) -> None:
        key = await make_key(user)
        assert await status_of_me(client, user.headers) == 200
        assert await status_of_me(client, key) == 200
        url = f"/users/{user.id}"
        response = await client.post(f"{url}/ban", headers=admin.headers)
        assert response.status_code == 200
        assert response.json()["banned"] is True
        assert await status_of_me(client, user.headers) in (401, 403)
        assert await status_of_me(client, key) == 403
        response = await client.post(f"{url}/unban", headers=admin.headers)
        assert response.json()["banned"] is False
        assert await status_of_me(client, key) == 200
        assert await status_of_me(client, (await log_in(user)).headers) == 200


class TestMakeAdmin:
    async def test_acts_on_the_next_request(
        self, client: httpx.AsyncClient, admin: Person, user: Person
    ) -> None:
        listing = await client.get("/users/", headers=user.headers)
        assert listing.status_code == 403
        response = await client.post(
            f"/users/{user.id}/make-admin", headers=admin.headers
        )
        assert response.json()["role"] == "admin"
        listing = await client.get("/users/", headers=user.headers)
        assert listing.status_code == 200

    async def test_needs_a_key_with_all_that_an_admin_may(
        self,
        client: httpx.AsyncClient,
        admin: Person,
        user: Person,
        make_key: MakeKey,
    ) -> None:
        url = f"/users/{user.id}/make-admin"
        partial = await make_key(admin, "users:read", "users:write", "keys:write")
        response = await client.post(url, headers=partial)
        assert response.status_code == 403
        assert response.json()["code"] == "missing_scope"
        missing = "profile:read, profile:write, keys:read"
        assert f"lack the scope {missing}" in response.json()["detail"]
        full = await make_key(admin, *role_scopes(Role.admin))
        response = await client.post(url, headers=full)
        assert response.json()["role"] == "admin"


class TestPassword:
    async def test_needs_the_current_one_and_ends_all_other_sessions(
        self, client: httpx.AsyncClient, user: Person, log_in: LogIn
    ) -> None:
        elsewhere = dict(user.headers)
        await log_in(user)
        url = f"/users/{user.id}/password"
        new = {"password": "a new and better one"}
        for wrong in ({}, {"current_password": "wrong"}):
            response = await client.post(url, json=new | wrong, headers=user.headers)
            assert response.status_code == 422
            assert await status_of_me(client, user.headers) == 200
        right = new | {"current_password": PASSWORD}
        response = await client.post(url, json=right, headers=user.headers)
        assert response.status_code == 204
        assert await status_of_me(client, user.headers) == 200
        assert await status_of_me(client, elsewhere) == 401
        old = {"email": user.email, "password": PASSWORD}
        assert (await client.post("/login/", json=old)).status_code == 401
        user.password = new["password"]
        await log_in(user)

    async def test_of_another_user_is_set_by_an_admin(
        self, client: httpx.AsyncClient, admin: Person, user: Person, log_in: LogIn
    ) -> None:
        new = {"password": "a new and better one"}
        url = f"/users/{user.id}/password"
        response = await client.post(url, json=new, headers=admin.headers)
        assert response.status_code == 204
        assert await status_of_me(client, user.headers) == 401
        user.password = new["password"]
        await log_in(user)

    @pytest.mark.parametrize("role", Role)
    async def test_of_another_user_needs_a_key_with_all_that_he_may(
        self,
        client: httpx.AsyncClient,
        admin: Person,
        make_user: MakeUser,
        make_key: MakeKey,
        log_in: LogIn,
        role: Role,
    ) -> None:
        target = await make_user(role)
        new = {"password": "a new and better one"}
        url = f"/users/{target.id}/password"
        scopes = {"users:write", *role_scopes(role)}
        lacking = role_scopes(role)[0]
        partial = await make_key(admin, *scopes - {lacking})
        response = await client.post(url, json=new, headers=partial)
        assert response.status_code == 403
        assert response.json()["code"] == "missing_scope"
        assert lacking in response.json()["detail"]
        await log_in(target)
        full = await make_key(admin, *scopes)
        response = await client.post(url, json=new, headers=full)
        assert response.status_code == 204
        target.password = new["password"]
        await log_in(target)

    @pytest.mark.parametrize("whose", ["user", "admin"])
    async def test_ends_api_keys_when_asked(
        self,
        client: httpx.AsyncClient,
        user: Person,
        admin: Person,
        make_key: MakeKey,
        whose: str,
    ) -> None:
        caller = {"user": user, "admin": admin}[whose]
        key, others = await make_key(user), await make_key(admin)
        url = f"/users/{user.id}/password"
        passwords = [PASSWORD, "a new and better one", "another and better one"]
        for number, (revoke, status) in enumerate([(False, 200), (True, 401)]):
            body = {"current_password": passwords[number], "revoke_api_keys": revoke}
            body["password"] = passwords[number + 1]
            assert await status_of_me(client, key) == 200
            response = await client.post(url, json=body, headers=caller.headers)
            assert response.status_code == 204
            assert await status_of_me(client, key) == status
        assert await status_of_me(client, others) == 200

    async def test_is_no_part_of_ones_own_address(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        body = {"password": user.email, "current_password": PASSWORD}
        url = f"/users/{user.id}/password"
        response = await client.post(url, json=body, headers=user.headers)
        assert response.status_code == 422
        assert response.json()["code"] == "password_too_common"
        assert await status_of_me(client, user.headers) == 200

    async def test_is_stored_as_a_hash(self, database: Database, user: Person) -> None:
        async with database.session(writes=False) as session:
            query = select(User.password_hash).where(User.id == user.id)
            stored = (await session.scalars(query)).one()
        assert stored.startswith("$argon2id$")
