"""An admin who may ask the template's cached routes about himself, and his key."""

from typing import Any

import httpx
import pytest

from tests.cache.asked import Ask, cached_urls, outcome
from tests.people import Headers, Person


@pytest.fixture
async def values(client: httpx.AsyncClient, admin: Person) -> dict[str, Any]:
    """Return what the braces in URLs stand for; add what your cached routes have."""
    key = await client.post(
        "/users/keys", json={"name": "laptop"}, headers=admin.headers
    )
    return {"user_id": admin.id, "key_id": key.json()["id"]}


@pytest.fixture
def ask(client: httpx.AsyncClient, values: dict[str, Any]) -> Ask:
    """Return a function that asks for a URL with braces, as somebody."""

    async def ask(
        url: str, caller: Headers, more: Headers | None = None, method: str = "GET"
    ) -> httpx.Response:
        headers = caller | (more or {})
        return await client.request(method, url.format_map(values), headers=headers)

    return ask


@pytest.fixture
async def stored(ask: Ask, admin: Person) -> dict[str, httpx.Response]:
    """Return what each of these answers the admin, all of which is stored now."""
    answers = {}
    for url in cached_urls():
        await ask(url, admin.headers)
        answers[url] = await ask(url, admin.headers)
        assert outcome(answers[url]) == "HIT", url
    return answers
