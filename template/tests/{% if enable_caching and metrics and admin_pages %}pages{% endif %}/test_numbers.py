"""The page's numbers are those of /metrics."""

from collections import defaultdict

import httpx
import pytest

from tests.metrics.scraped import Serve, all_of, scrape
from tests.metrics.workers import WORKERS
from tests.pages.browser import Browser
from tests.people import Person

OUTCOMES = ["hit", "revalidated", "collapsed", "miss", "bypass"]


@pytest.mark.parametrize("workers", WORKERS)
async def test_the_numbers_equal_the_metrics(
    serve: Serve, workers: int, admin: Person
) -> None:
    async with await serve(workers) as client:
        await cause_each_outcome(client, admin)
        browser = await Browser(client).logged_in(admin)
        page, found = await browser.cache(), await scrape(client)
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
    assert found["http_requests_total GET /admin/cache 200"] == 1
    for name, number in {
        "Evicted": found["cache_evictions_total"],
        "Runs under way": found["cache_flights"],
        "Waiting": found["cache_waiters"],
    }.items():
        assert page.figures[name] == number


async def cause_each_outcome(client: httpx.AsyncClient, admin: Person) -> None:
    asking = httpx.AsyncClient(
        base_url=client.base_url, headers=admin.headers, timeout=60
    )
    async with asking:
        miss = await asking.get("/users/me")
        for headers, times in [
            ({}, 100),
            ({"If-None-Match": miss.headers["etag"]}, 20),
            ({"Cache-Control": "no-store"}, 10),
            ({"Cache-Control": "no-cache"}, 10),
        ]:
            await all_of(asking.get("/users/me", headers=headers) for _ in range(times))
        await all_of(asking.get(f"/users/?page={n}") for n in range(1, 6))
        profile = {"email": admin.email, "first_name": "Other", "last_name": "Name"}
        changed = await asking.put(f"/users/{admin.id}", json=profile)
        assert changed.status_code == 200, changed.text
