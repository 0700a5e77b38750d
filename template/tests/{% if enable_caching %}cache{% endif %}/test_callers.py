"""What is stored is whose it is, and what becomes of him counts at once."""

from collections.abc import Awaitable, Callable

import httpx
from sqlalchemy import delete, update

from app.database import Database
from app.models import ApiKey, AuthSession, Role, User
from tests.cache.conftest import outcome
from tests.people import Headers, LogIn, MakeKey, MakeUser, Person

OWN = ("/users/me", "/users/keys")


async def repeat(client: httpx.AsyncClient, url: str, caller: Headers) -> None:
    """Ask until the answer comes from the cache, as it would for a regular client."""
    for _ in range(2):
        answer = await client.get(url, headers=caller)
        assert answer.status_code == 200, answer.text
    assert outcome(await client.get(url, headers=caller)) == "HIT"


async def test_two_users_never_share_what_is_their_own(
    client: httpx.AsyncClient, user: Person, other: Person, make_key: MakeKey
) -> None:
    for person in (user, other):
        await make_key(person, name=f"key of {person.id}")
    for _ in range(3):
        for person, callers in (
            (user, [user.headers, await make_key(user, name=f"key of {user.id}")]),
            (other, [other.headers]),
        ):
            for caller in callers:
                me = await client.get("/users/me", headers=caller)
                assert me.json()["id"] == person.id
                keys = await client.get("/users/keys", headers=caller)
                names = {key["name"] for key in keys.json()}
                assert names == {f"key of {person.id}"}


async def test_a_users_logins_share_what_is_theirs_and_a_key_has_its_own(
    client: httpx.AsyncClient, user: Person, log_in: LogIn, make_key: MakeKey
) -> None:
    """What a handler is told of who asks has the scopes in it."""
    key = await make_key(user, "profile:read", "keys:read")
    await log_in(user)
    for url in OWN:
        await repeat(client, url, user.headers)
        await repeat(client, url, key)


async def test_admins_share_the_list_of_users(
    client: httpx.AsyncClient, admin: Person, make_key: MakeKey
) -> None:
    await repeat(client, "/users/", admin.headers)
    key = await make_key(admin, "users:read")
    assert outcome(await client.get("/users/", headers=key)) == "HIT"


Act = Callable[[httpx.AsyncClient, Person, Person], Awaitable[httpx.Response]]


async def ban(client: httpx.AsyncClient, user: Person, admin: Person) -> httpx.Response:
    return await client.post(f"/users/{user.id}/ban", headers=admin.headers)


async def remove(
    client: httpx.AsyncClient, user: Person, admin: Person
) -> httpx.Response:
    return await client.delete(f"/users/{user.id}", headers=admin.headers)


async def log_out(
    client: httpx.AsyncClient, user: Person, admin: Person
) -> httpx.Response:
    return await client.post("/logout/", headers=user.headers)


async def set_password(
    client: httpx.AsyncClient, user: Person, admin: Person
) -> httpx.Response:
    body = {"password": "another good password"}
    url = f"/users/{user.id}/password"
    return await client.post(url, json=body, headers=admin.headers)


async def test_who_is_shut_out_gets_nothing_more_from_the_cache(
    client: httpx.AsyncClient, make_user: MakeUser, admin: Person
) -> None:
    acts: list[Act] = [ban, remove, log_out, set_password]
    for act in acts:
        user = await make_user()
        for url in OWN:
            await repeat(client, url, user.headers)

        assert (await act(client, user, admin)).is_success

        for url in OWN:
            for _ in range(2):
                answer = await client.get(url, headers=user.headers)
                assert answer.status_code in (401, 403), (act, url)
                assert outcome(answer) != "HIT", (act, url)


async def test_who_is_let_in_again_is_answered(
    client: httpx.AsyncClient, user: Person, admin: Person, make_key: MakeKey
) -> None:
    key = await make_key(user)
    await ban(client, user, admin)
    for _ in range(3):
        assert (await client.get("/users/me", headers=key)).status_code == 403
    await client.post(f"/users/{user.id}/unban", headers=admin.headers)
    me = await client.get("/users/me", headers=key)
    assert (me.status_code, me.json()["banned"]) == (200, False)


async def test_a_new_role_counts_at_once(
    client: httpx.AsyncClient, user: Person, admin: Person, database: Database
) -> None:
    await repeat(client, "/users/", admin.headers)
    assert (await client.get("/users/", headers=user.headers)).status_code == 403

    url = f"/users/{user.id}/make-admin"
    assert (await client.post(url, headers=admin.headers)).is_success
    await repeat(client, "/users/", user.headers)
    me = await client.get("/users/me", headers=user.headers)
    assert me.json()["role"] == "admin"

    async with database.session() as session:
        demoted = update(User).where(User.id == user.id).values(role=Role.user)
        await session.execute(demoted)
    for _ in range(2):
        answer = await client.get("/users/", headers=user.headers)
        assert answer.status_code == 403
        assert outcome(answer) != "HIT"


async def test_a_key_that_loses_its_rights_gets_nothing_more(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey
) -> None:
    key = await make_key(user, "profile:read")
    (row,) = (await client.get("/users/keys", headers=user.headers)).json()
    url = f"/users/keys/{row['id']}"
    right = {"active": True, "scopes": ["profile:read"]}
    for change in ({"active": False}, {"scopes": ["keys:read"]}):
        await client.patch(url, json=right, headers=user.headers)
        await repeat(client, "/users/me", key)

        changed = await client.patch(url, json=change, headers=user.headers)
        assert changed.is_success, changed.text

        for _ in range(2):
            answer = await client.get("/users/me", headers=key)
            assert answer.status_code in (401, 403), change
            assert outcome(answer) != "HIT", change


async def test_credentials_that_are_gone_get_nothing_more(
    client: httpx.AsyncClient, user: Person, make_key: MakeKey, database: Database
) -> None:
    key = await make_key(user)
    for model, caller in ((ApiKey, key), (AuthSession, user.headers)):
        await repeat(client, "/users/me", caller)

        async with database.session() as session:
            await session.execute(delete(model).where(model.user_id == user.id))

        answer = await client.get("/users/me", headers=caller)
        assert answer.status_code == 401, model
