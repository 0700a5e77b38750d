"""The page's numbers are those of /metrics."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

import httpx
import pytest

from tests.people import Person
from tests.test_metrics import scrape
from tests.test_pages import Browser, Page

OUTCOMES = ["hit", "revalidated", "collapsed", "miss", "bypass"]


async def test_the_numbers_equal_the_metrics(
    client: httpx.AsyncClient, browser: Browser, admin: Person
) -> None:
    await cause_each_outcome(client, admin)
    await browser.logged_in(admin)
    page, found = await browser.cache(), await scrape(client)
    assert_equal(page, found)


def assert_equal(page: Page, found: Mapping[str, float]) -> None:
    """Compare all that the page shows with the metrics, as they were at once."""
    shown: dict[str, float] = {}
    for route, requests, ratio, _, *others in page.tables["routes-rows"]:
        counts = dict(zip(OUTCOMES, map(float, others[:5]), strict=True))
        assert float(requests) == sum(counts.values())
        hits = sum(counts[outcome] for outcome in OUTCOMES[:3])
        assert float(ratio) == pytest.approx(hits / float(requests))
        shown |= {f"{outcome} {route}": n for outcome, n in counts.items() if n}
        if others[-1] != "None":
            assert float(others[-1]) == found[f"cache_saved_seconds {route}"]
    counted: dict[str, float] = defaultdict(float)
    reasons: dict[str, float] = defaultdict(float)
    for name, count in found.items():
        kind, _, labels = name.partition(" ")
        if kind == "cache_request_seconds_count":
            detail, outcome, route = labels.split(" ")
            counted[f"{outcome} {route}"] += count
            if detail or outcome in ("miss", "bypass"):
                reasons[f"{route} {outcome} {detail or '–'}"] += count
    assert shown == counted
    assert shown["hit /users/me"] >= 100
    rows = page.tables["reasons-rows"]
    assert {" ".join(row[:3]): float(row[3]) for row in rows} == reasons
    causes = page.tables["causes-rows"]
    assert causes
    for cause, times in causes:
        assert float(times) == found[f"cache_invalidations_total {cause}"]
    assert page.figures["Requests"] == sum(counted.values())
    saved = sum(n for name, n in found.items() if name.startswith("cache_saved_"))
    assert page.figures["Time saved"] == pytest.approx(saved)
    for name, number in {
        "Evicted": found["cache_evictions_total"],
        "Runs under way": found["cache_flights"],
        "Waiting": found["cache_waiters"],
    }.items():
        assert page.figures[name] == number


async def cause_each_outcome(client: httpx.AsyncClient, admin: Person) -> None:
    miss = await client.get("/users/me", headers=admin.headers)
    for headers, times in [
        ({}, 100),
        ({"If-None-Match": miss.headers["etag"]}, 20),
        ({"Cache-Control": "no-store"}, 10),
        ({"Cache-Control": "no-cache"}, 10),
    ]:
        sent = admin.headers | headers
        for _ in range(times // 10):
            ten = (client.get("/users/me", headers=sent) for _ in range(10))
            await asyncio.gather(*ten)
    for number in range(1, 6):
        await client.get(f"/users/?page={number}", headers=admin.headers)
    profile = {"email": admin.email, "first_name": "Other", "last_name": "Name"}
    url = f"/users/{admin.id}"
    changed = await client.put(url, json=profile, headers=admin.headers)
    assert changed.status_code == 200, changed.text
