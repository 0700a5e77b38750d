import asyncio
import threading
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import update

from app.config import Settings
from app.database import Database
from app.errors import Invalid
from app.managers import passwords
from app.managers.passwords import require_good_password
from app.managers.tokens import signing_key
from app.models import User
from tests.people import LogIn, MakeKey, MakeUser, Person

REGISTRATION = {
    "email": "Ada@Example.com",
    "password": "correct horse battery staple",
    "first_name": "Ada",
    "last_name": "Lovelace",
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestRegister:
    async def test_logs_the_new_user_in(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/register/", json=REGISTRATION)
        assert response.status_code == 201
        tokens = response.json()
        assert tokens["token_type"] == "bearer"
        profile = await client.get("/users/me", headers=bearer(tokens["token"]))
        assert profile.status_code == 200
        assert profile.json()["email"] == "ada@example.com"
        assert profile.json()["role"] == "user"

    async def test_refuses_a_taken_address_in_any_case(
        self, client: httpx.AsyncClient
    ) -> None:
        await client.post("/register/", json=REGISTRATION)
        again = REGISTRATION | {"email": "ADA@example.com"}
        response = await client.post("/register/", json=again)
        assert response.status_code == 409
        assert response.json()["code"] == "email_taken"

    async def test_of_many_at_once_one_gets_the_address(
        self, client: httpx.AsyncClient
    ) -> None:
        responses = await asyncio.gather(
            *(client.post("/register/", json=REGISTRATION) for _ in range(5))
        )
        statuses = sorted(response.status_code for response in responses)
        assert statuses == [201, 409, 409, 409, 409]

    async def test_refuses_what_is_no_registration(
        self, client: httpx.AsyncClient
    ) -> None:
        for change in (
            {"email": "nobody"},
            {"email": "a@b\x00.example"},
            {"password": "1234567"},
            {"password": "x" * 129},
            {"password": "null\x00character"},
            {"first_name": " "},
            {"last_name": "x" * 101},
            {"first_name": "null\x00character"},
            {"role": "admin"},
        ):
            response = await client.post("/register/", json=REGISTRATION | change)
            assert response.status_code == 422, change
            assert response.json()["errors"][0]["loc"] == ["body", *change]

    async def test_refuses_lone_surrogates(self, client: httpx.AsyncClient) -> None:
        body = b'{"email": "a@example.com", "password": "12345678\\ud800"}'
        response = await client.post(
            "/register/", content=body, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 422


class TestLogin:
    async def test_gives_tokens(
        self, client: httpx.AsyncClient, user: Person, settings: Settings
    ) -> None:
        credentials = {"email": user.email.upper(), "password": user.password}
        response = await client.post("/login/", json=credentials)
        assert response.status_code == 200
        assert response.json()["expires_in"] == settings.access_token_ttl
        headers = bearer(response.json()["token"])
        assert (await client.get("/users/me", headers=headers)).status_code == 200

    async def test_refuses_a_wrong_password_and_an_unknown_user_alike(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        answers = []
        for email in (user.email, "unknown@example.com"):
            credentials = {"email": email, "password": "wrong password"}
            response = await client.post("/login/", json=credentials)
            answers.append((response.status_code, response.json()))
        assert answers[0] == answers[1]
        assert answers[0][0] == 401
        assert answers[0][1]["code"] == "invalid_credentials"

    async def test_takes_the_same_work_for_an_unknown_user(
        self,
        client: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        make_user: MakeUser,
    ) -> None:
        hashes, known = passwords.password_hash, await make_user()
        verify, made = hashes.verify_and_update, hashes.hash
        work: list[str] = []

        def verified(password: str, stored: str) -> tuple[bool, str | None]:
            work.append(stored.rpartition("$")[0].rpartition("$")[0])  # its parameters
            return verify(password, stored)

        def hashed(password: str) -> str:
            work.append("one more hash")
            return made(password)

        monkeypatch.setattr(hashes, "verify_and_update", verified)
        monkeypatch.setattr(hashes, "hash", hashed)
        done = []
        for email in (known.email, "unknown@example.com"):
            passwords._dummy_hash.cache_clear()
            for _ in ("first of this process", "later"):
                await client.post(
                    "/login/", json={"email": email, "password": "wrong password"}
                )
            done.append(work.copy())
            work.clear()
        assert done[0] == done[1]
        assert sum(each.startswith("$argon2id$") for each in done[0]) == 2

    async def test_refuses_a_banned_user_who_knows_the_password(
        self, client: httpx.AsyncClient, make_user: MakeUser
    ) -> None:
        banned = await make_user(banned=True)
        credentials = {"email": banned.email, "password": banned.password}
        response = await client.post("/login/", json=credentials)
        assert response.status_code == 403
        assert response.json()["code"] == "banned"
        credentials["password"] = "wrong password"
        response = await client.post("/login/", json=credentials)
        assert response.status_code == 401

    async def test_turns_a_flood_away_instead_of_queueing_it_without_limit(
        self,
        client: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        user: Person,
        log_in: LogIn,
    ) -> None:
        gate = threading.Event()
        hashes = passwords.password_hash
        verify = hashes.verify_and_update

        def held(password: str, stored: str) -> tuple[bool, str | None]:
            gate.wait()
            return verify(password, stored)

        monkeypatch.setattr(hashes, "verify_and_update", held)
        credentials = {"email": user.email, "password": "wrong password"}
        room = passwords.THREADS + passwords.MAX_WAITING
        flood = [
            asyncio.create_task(client.post("/login/", json=credentials))
            for _ in range(room + 1)
        ]
        try:
            first, _ = await asyncio.wait(
                flood, timeout=60, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            gate.set()
        (refused,) = [task.result() for task in first]
        assert refused.status_code == 503
        assert refused.json()["code"] == "unavailable"
        assert "Retry-After" in refused.headers
        statuses = [response.status_code for response in await asyncio.gather(*flood)]
        assert statuses.count(401) == room
        await log_in(user)


class TestRefresh:
    async def test_refuses_who_has_no_token(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/refresh/", json={"refresh": "nonsense"})
        assert response.status_code == 401

    async def test_refuses_an_access_token(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        token = user.headers["Authorization"].removeprefix("Bearer ")
        response = await client.post("/refresh/", json={"refresh": token})
        assert response.status_code == 401

    async def test_gives_the_next_pair_once(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        response = await client.post("/refresh/", json={"refresh": user.refresh})
        assert response.status_code == 200
        tokens = response.json()
        headers = bearer(tokens["token"])
        assert (await client.get("/users/me", headers=headers)).status_code == 200
        response = await client.post("/refresh/", json={"refresh": tokens["refresh"]})
        assert response.status_code == 200

    async def test_ends_the_session_when_a_token_comes_twice(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        thief = await client.post("/refresh/", json={"refresh": user.refresh})
        owner = await client.post("/refresh/", json={"refresh": user.refresh})
        assert owner.status_code == 401
        headers = bearer(thief.json()["token"])
        assert (await client.get("/users/me", headers=headers)).status_code == 401
        body = {"refresh": thief.json()["refresh"]}
        assert (await client.post("/refresh/", json=body)).status_code == 401

    async def test_works_once_of_twenty_times_at_once(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        body = {"refresh": user.refresh}
        responses = await asyncio.gather(
            *(client.post("/refresh/", json=body) for _ in range(20))
        )
        statuses = [response.status_code for response in responses]
        assert sorted(statuses) == [200] + [401] * 19

    async def test_refuses_a_banned_user(
        self, client: httpx.AsyncClient, make_user: MakeUser
    ) -> None:
        banned = await make_user(banned=True)
        response = await client.post("/refresh/", json={"refresh": banned.refresh})
        assert response.status_code == 401


class TestLogout:
    async def test_ends_both_tokens_and_no_other_session(
        self, client: httpx.AsyncClient, user: Person, log_in: LogIn
    ) -> None:
        elsewhere = dict(user.headers)
        await log_in(user)
        assert (await client.get("/users/me", headers=user.headers)).status_code == 200
        response = await client.post("/logout/", headers=user.headers)
        assert response.status_code == 200
        assert (await client.get("/users/me", headers=user.headers)).status_code == 401
        body = {"refresh": user.refresh}
        assert (await client.post("/refresh/", json=body)).status_code == 401
        assert (await client.get("/users/me", headers=elsewhere)).status_code == 200

    async def test_is_nothing_for_an_api_key(
        self, client: httpx.AsyncClient, user: Person, make_key: MakeKey
    ) -> None:
        key = await make_key(user)
        response = await client.post("/logout/", headers=key)
        assert response.status_code in (401, 403)
        assert (await client.get("/users/me", headers=key)).status_code == 200


class TestLife:
    async def test_from_registration_to_logout(self, client: httpx.AsyncClient) -> None:
        credentials = {name: REGISTRATION[name] for name in ("email", "password")}
        await client.post("/register/", json=REGISTRATION)
        first = (await client.post("/login/", json=credentials)).json()
        body = {"refresh": first["refresh"]}
        second = (await client.post("/refresh/", json=body)).json()
        me = await client.get("/users/me", headers=bearer(second["token"]))
        assert me.json()["first_name"] == "Ada"
        headers = bearer(second["token"])
        assert (await client.post("/logout/", headers=headers)).status_code == 200
        for token in (first["token"], second["token"]):
            me = await client.get("/users/me", headers=bearer(token))
            assert me.status_code == 401
        assert (await client.post("/login/", json=credentials)).status_code == 200


class TestTokens:
    async def test_name_the_session_and_hold_no_secret(self, user: Person) -> None:
        claims = unverified(user.refresh)
        assert set(claims) == {"sub", "sid", "jti", "type", "iat", "exp"}
        assert claims["sub"] == str(user.id)
        assert claims["type"] == "refresh"

    async def test_each_claim_is_needed(
        self, client: httpx.AsyncClient, user: Person, settings: Settings
    ) -> None:
        claims = unverified(user.headers["Authorization"].removeprefix("Bearer "))
        assert claims.keys() == {"sub", "sid", "jti", "type", "iat", "exp"}
        for missing in (None, *claims):
            left = {name: claims[name] for name in claims if name != missing}
            forged = jwt.encode(left, signing_key(settings), "HS256")
            response = await client.get("/users/me", headers=bearer(forged))
            assert response.status_code == (401 if missing else 200), missing

    async def test_a_signature_does_not_make_a_claim_one_of_ours(
        self, client: httpx.AsyncClient, user: Person, settings: Settings
    ) -> None:
        def forged(token_type: str, claim: str, value: object) -> str:
            claims = unverified(user.refresh) | {"type": token_type, claim: value}
            return jwt.encode(claims, signing_key(settings), "HS256")

        changes: list[tuple[str, object]] = [
            ("sub", str(2**63)),
            ("sub", "9" * 5000),
            ("sub", "-1"),
            ("sub", "\uff11"),
            ("sid", "\0"),
            ("sid", "\ud800"),
            ("sid", ["a"]),
            ("jti", "\0"),
            ("type", ["access"]),
        ]
        for change in changes:
            access = forged("access", *change)
            me = await client.get("/users/me", headers=bearer(access))
            assert me.status_code == 401, change
            body = {"refresh": forged("refresh", *change)[:4096]}
            refreshed = await client.post("/refresh/", json=body)
            assert refreshed.status_code == 401, change


class TestSessions:
    URL = "/users/me/sessions"

    async def test_are_listed_and_each_knows_itself(
        self, client: httpx.AsyncClient, user: Person, other: Person, log_in: LogIn
    ) -> None:
        first = dict(user.headers)
        (session,) = (await client.get(self.URL, headers=first)).json()
        # What is cached is each session's own.
        assert (await client.get(self.URL, headers=first)).json() == [session]
        assert session["current"]
        await log_in(user)
        for headers, current in ((first, [True, False]), (user.headers, [False, True])):
            for _ in range(2):
                sessions = (await client.get(self.URL, headers=headers)).json()
                assert [each["current"] for each in sessions] == current
                assert sessions[0]["id"] == session["id"]
        assert len((await client.get(self.URL, headers=other.headers)).json()) == 1

    async def test_show_what_a_refresh_moves_on(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        (before,) = (await client.get(self.URL, headers=user.headers)).json()
        await client.post("/refresh/", json={"refresh": user.refresh})
        (after,) = (await client.get(self.URL, headers=user.headers)).json()
        assert after["expires_at"] > before["expires_at"]
        assert after["id"] == before["id"]

    async def test_one_ends_at_once_and_for_both_tokens(
        self, client: httpx.AsyncClient, user: Person, log_in: LogIn
    ) -> None:
        lost, refresh = dict(user.headers), user.refresh
        (session,) = (await client.get(self.URL, headers=lost)).json()
        await log_in(user)
        for _ in range(2):
            assert (await client.get("/users/me", headers=lost)).status_code == 200
        url = f"{self.URL}/{session['id']}"
        response = await client.delete(url, headers=user.headers)
        assert response.status_code == 204
        assert (await client.get("/users/me", headers=lost)).status_code == 401
        response = await client.post("/refresh/", json={"refresh": refresh})
        assert response.status_code == 401
        assert len((await client.get(self.URL, headers=user.headers)).json()) == 1
        again = await client.delete(url, headers=user.headers)
        assert (again.status_code, again.json()["code"]) == (404, "session_not_found")

    async def test_all_end_but_the_one_that_asks(
        self, client: httpx.AsyncClient, user: Person, other: Person, log_in: LogIn
    ) -> None:
        before = dict(user.headers)
        await log_in(user)
        response = await client.delete(self.URL, headers=user.headers)
        assert response.status_code == 204
        assert (await client.get("/users/me", headers=before)).status_code == 401
        for person in (user, other):
            me = await client.get("/users/me", headers=person.headers)
            assert me.status_code == 200

    async def test_of_another_user_do_not_exist(
        self, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        (theirs,) = (await client.get(self.URL, headers=other.headers)).json()
        response = await client.delete(
            f"{self.URL}/{theirs['id']}", headers=user.headers
        )
        assert response.status_code == 404
        me = await client.get("/users/me", headers=other.headers)
        assert me.status_code == 200


class TestPasswords:
    COMPOSED, DECOMPOSED = "Z\u00fcrich by night", "Zu\u0308rich by night"

    async def test_are_the_same_however_a_keyboard_writes_them(
        self, client: httpx.AsyncClient
    ) -> None:
        body = REGISTRATION | {"password": self.DECOMPOSED}
        assert (await client.post("/register/", json=body)).status_code == 201
        for text in (self.COMPOSED, self.DECOMPOSED):
            login = {"email": REGISTRATION["email"], "password": text}
            assert (await client.post("/login/", json=login)).status_code == 200
        login["password"] = "Zurich by night"
        assert (await client.post("/login/", json=login)).status_code == 401

    async def test_from_before_they_were_normalized_go_on_and_are_renewed(
        self, client: httpx.AsyncClient, database: Database, user: Person
    ) -> None:
        old = passwords.password_hash.hash(self.DECOMPOSED)
        async with database.session() as session:
            await session.execute(
                update(User).where(User.id == user.id).values(password_hash=old)
            )
        login = {"email": user.email, "password": self.COMPOSED}
        assert (await client.post("/login/", json=login)).status_code == 401
        login["password"] = self.DECOMPOSED
        assert (await client.post("/login/", json=login)).status_code == 200
        login["password"] = self.COMPOSED
        assert (await client.post("/login/", json=login)).status_code == 200

    async def test_that_are_guessed_first_are_refused(
        self, client: httpx.AsyncClient
    ) -> None:
        for password, code in (
            ("password1", "password_too_common"),
            ("QwertyUIOP", "password_too_common"),
            ("\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44", "password_too_common"),
            ("haha-haha-haha-", "password_too_common"),
            ("Ada@example.com", "password_too_common"),
            ("Ada-2026!", "password_too_common"),
            ("12345678", "password_too_common"),
            ("e\u0301" * 4, "password_too_short"),
        ):
            body = REGISTRATION | {"password": password}
            response = await client.post("/register/", json=body)
            assert response.status_code == 422, password
            assert response.json()["code"] == code, password
            assert password not in response.text

    async def test_may_hold_a_common_one(self, client: httpx.AsyncClient) -> None:
        body = REGISTRATION | {"password": "ada has password1"}
        assert (await client.post("/register/", json=body)).status_code == 201

    def test_of_the_service_are_refused(self, settings: Settings) -> None:
        name = "".join(settings.api_title.split()).upper()
        with pytest.raises(Invalid, match="name of the service"):
            require_good_password(f"{name} 12345678", settings)


def unverified(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})
