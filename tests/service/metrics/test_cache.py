"""What the cache does, by route and outcome, and what invalidates it."""

import asyncio
import subprocess

import httpx

from tests.people import Person
from tests.servers.service import API_ADMIN
from tests.test_metrics import scrape

COUNT = "cache_request_seconds_count"
CAUSES = "cache_invalidations_total"


async def test_requests_are_counted_by_their_outcome(
    client: httpx.AsyncClient, user: Person
) -> None:
    before = await scrape(client)
    miss = await client.get("/users/me", headers=user.headers)
    for more in (
        {"If-None-Match": miss.headers["etag"]},
        {"Cache-Control": "no-store"},
        {"Cache-Control": "no-cache"},
        {},
        {},
    ):
        await client.get("/users/me", headers={**user.headers, **more})
    after = await scrape(client)
    found = after - before
    assert {name: n for name, n in found.items() if name.startswith(COUNT)} == {
        f"{COUNT}  miss /users/me": 1,
        f"{COUNT}  revalidated /users/me": 1,
        f"{COUNT}  bypass /users/me": 1,
        f"{COUNT} no-cache miss /users/me": 1,
        f"{COUNT}  hit /users/me": 2,
    }
    assert "cache_saved_seconds /users/me" in after


async def test_invalidations_are_counted_by_their_cause(
    client: httpx.AsyncClient, user: Person
) -> None:
    before = await scrape(client)
    profile = {"email": user.email, "first_name": "Other", "last_name": "Name"}
    url = f"/users/{user.id}"
    changed = await client.put(url, json=profile, headers=user.headers)
    assert changed.status_code == 200, changed.text
    ban = [str(API_ADMIN), "user", "ban", user.email]
    await asyncio.to_thread(subprocess.run, ban, check=True, capture_output=True)
    found = await scrape(client) - before
    assert {name: n for name, n in found.items() if name.startswith(CAUSES)} == {
        f"{CAUSES} commit users": 1,
        f"{CAUSES} command": 1,
    }
