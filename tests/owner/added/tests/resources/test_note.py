import logging

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.resources.note import count_words, list_notes
from tests.people import MakeUser, Person

URL = "/notes"


async def write(client: httpx.AsyncClient, person: Person, text: str) -> int:
    response = await client.post(URL, json={"text": text}, headers=person.headers)
    assert response.status_code == 201, response.text
    note_id: int = response.json()["id"]
    return note_id


async def texts(client: httpx.AsyncClient, person: Person) -> list[str]:
    response = await client.get(URL, headers=person.headers)
    assert response.status_code == 200, response.text
    return [note["text"] for note in response.json()]


class TestNotes:
    async def test_need_credentials(self, client: httpx.AsyncClient) -> None:
        assert (await client.get(URL)).status_code == 401

    async def test_belong_to_who_writes_them(
        self, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        await write(client, user, "Buy milk")
        await write(client, other, "Sell milk")
        assert await texts(client, user) == ["Buy milk"]
        assert await texts(client, other) == ["Sell milk"]

    async def test_are_never_older_than_the_last_change(
        self, client: httpx.AsyncClient, user: Person
    ) -> None:
        assert await texts(client, user) == []
        first = await write(client, user, "Buy milk")
        assert await texts(client, user) == ["Buy milk"]
        await write(client, user, "Drink it")
        await client.delete(f"{URL}/{first}", headers=user.headers)
        assert await texts(client, user) == ["Drink it"]

    async def test_are_cached_where_there_is_a_cache(
        self, app: FastAPI, client: httpx.AsyncClient, user: Person
    ) -> None:
        """Where there is none, `@cached` gives the function back."""
        seen = [
            (await client.get(URL, headers=user.headers)).headers.get("X-FastAPI-Cache")
            for _ in range(2)
        ]
        cached = hasattr(list_notes, "__wrapped__")
        assert seen == (["MISS", "HIT"] if cached else [None, None])

    async def test_have_their_words_counted_and_cached_by_word_and_note(
        self, app: FastAPI, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        first = await write(client, user, "Buy milk and bread")
        second = await write(client, user, "Sell milk")
        cached = hasattr(count_words, "__wrapped__")
        for _ in range(2):
            for note, word, count in ((first, "milk", 1), (first, "Sell", 0)):
                url = f"{URL}/{note}/words/{word}"
                response = await client.get(url, headers=user.headers)
                assert response.json() == count
                refused = await client.get(url, headers=other.headers)
                assert refused.status_code == 404
        assert response.headers.get("X-FastAPI-Cache") == ("HIT" if cached else None)
        await client.delete(f"{URL}/{first}", headers=user.headers)
        response = await client.get(url, headers=user.headers)
        assert response.status_code == 404
        url = f"{URL}/{second}/words/milk"
        assert (await client.get(url, headers=user.headers)).json() == 1

    async def test_of_another_user_cannot_be_deleted(
        self, client: httpx.AsyncClient, user: Person, other: Person
    ) -> None:
        note = await write(client, user, "Buy milk")
        response = await client.delete(f"{URL}/{note}", headers=other.headers)
        assert response.status_code == 404
        assert response.json()["code"] == "note_not_found"

    async def test_are_as_many_as_the_setting_says(
        self, client: httpx.AsyncClient, user: Person, settings: Settings
    ) -> None:
        assert settings.notes_per_user == 3
        for _ in range(3):
            await write(client, user, "Buy milk")
        response = await client.post(URL, json={"text": "x"}, headers=user.headers)
        assert response.status_code == 409


class TestWhatIsChanged:
    async def test_pages_of_users_have_20(
        self, client: httpx.AsyncClient, admin: Person
    ) -> None:
        page = (await client.get("/users/", headers=admin.headers)).json()
        assert page["size"] == 20

    def test_access_tokens_live_half_an_hour(self, settings: Settings) -> None:
        assert settings.access_token_ttl == 1800

    async def test_a_ban_is_logged_in_our_words(
        self,
        client: httpx.AsyncClient,
        admin: Person,
        make_user: MakeUser,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        person = await make_user()
        with caplog.at_level(logging.INFO):
            url = f"/users/{person.id}/ban"
            response = await client.post(url, headers=admin.headers)
        assert response.status_code == 200
        assert f"user {person.id} may not come back" in caplog.text


class TestIndexPage:
    async def test_is_served(self, client: httpx.AsyncClient) -> None:
        page = await client.get("/index.html")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<h1>Notes</h1>" in page.text
