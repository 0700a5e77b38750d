"""Every cached route of the template. Yours: see `test_own_routes.py`."""

import httpx
from fastapi import FastAPI

from tests.cache.conftest import (
    BYPASS,
    RELOAD,
    ROUTES,
    Ask,
    cached_routes,
    cached_urls,
    outcome,
    said,
    whole,
)
from tests.people import MakeKey, Person


def test_the_routes_of_the_table_are_cached_as_it_says(app: FastAPI) -> None:
    found = {
        path: (policy.namespace, policy.key_builder_name)
        for path, policy in cached_routes(app).items()
    }
    assert {path: found.get(path) for path in ROUTES} == ROUTES


async def test_a_hit_is_the_answer_of_its_miss(ask: Ask, admin: Person) -> None:
    for url in cached_urls():
        miss, hit = [await ask(url, admin.headers) for _ in range(2)]
        assert miss.status_code == 200, (url, miss.text)
        assert (outcome(miss), outcome(hit)) == ("MISS", "HIT"), url
        assert whole(hit) == whole(miss), url


async def test_a_hit_says_what_the_route_says_without_a_cache(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        past = await ask(url, admin.headers, BYPASS)
        assert outcome(past) is None, url
        assert said(hit) == said(past), url


async def test_no_answer_is_given_to_who_would_not_get_it_without_a_cache(
    stored: dict[str, httpx.Response],
    ask: Ask,
    user: Person,
    other: Person,
    admin: Person,
    make_key: MakeKey,
) -> None:
    unable = await make_key(admin, "profile:write")
    for url in stored:
        for caller in ({}, user.headers, other.headers, await make_key(user), unable):
            expected = await ask(url, caller, BYPASS)
            for _ in range(3):
                given = await ask(url, caller)
                assert said(given) == said(expected), (url, caller)
                if given.status_code >= 400:
                    assert outcome(given) != "HIT", (url, caller)


async def test_what_a_client_has_already_is_not_sent_again(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        condition = {"If-None-Match": hit.headers["etag"]}
        for how in ({}, RELOAD):
            answer = await ask(url, admin.headers, condition | how)
            assert (answer.status_code, answer.content) == (304, b""), url
            assert answer.headers["etag"] == hit.headers["etag"], url
        answer = await ask(url, admin.headers, {"If-None-Match": '"another"'})
        assert whole(answer) == whole(hit), url


async def test_head_is_answered_from_what_get_has_stored(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        head = await ask(url, admin.headers, method="HEAD")
        assert (outcome(head), head.content) == ("HIT", b""), url
        assert whole(head)[:2] == whole(hit)[:2], url
        refused = await ask(url, {}, method="HEAD")
        without = await ask(url, {})
        assert refused.status_code == without.status_code, url


async def test_browsers_and_proxies_share_nothing_of_it(
    stored: dict[str, httpx.Response],
) -> None:
    for url, hit in stored.items():
        assert "public" not in hit.headers["cache-control"], url
        varies = hit.headers["vary"].lower()
        assert {"authorization", "x-api-key"} <= set(varies.split(", ")), url


async def test_a_client_can_ask_for_a_fresh_answer(
    stored: dict[str, httpx.Response], ask: Ask, admin: Person
) -> None:
    for url, hit in stored.items():
        fresh = await ask(url, admin.headers, RELOAD)
        assert outcome(fresh) == "MISS", url
        assert whole(fresh) == whole(hit), url
        again = await ask(url, admin.headers)
        assert outcome(again) == "HIT", url


async def test_what_is_refused_or_not_found_is_not_stored(
    client: httpx.AsyncClient, admin: Person, user: Person
) -> None:
    for url, caller, status in (
        ("/users/keys/999999999", admin.headers, 404),
        ("/users/", user.headers, 403),
        ("/users/?page=none", admin.headers, 422),
        ("/users/me", {}, 401),
    ):
        for _ in range(3):
            answer = await client.get(url, headers=caller)
            assert answer.status_code == status
            assert outcome(answer) != "HIT", url


async def test_other_parameters_are_another_answer(
    client: httpx.AsyncClient, admin: Person, user: Person
) -> None:
    pages = [f"/users/?page={page}&size=1" for page in (1, 2)]
    found = [await client.get(url, headers=admin.headers) for url in pages * 2]
    assert [outcome(answer) for answer in found] == ["MISS", "MISS", "HIT", "HIT"]
    ids = [answer.json()["items"][0]["id"] for answer in found]
    assert sorted(ids[:2]) == sorted([admin.id, user.id])
    assert ids[:2] == ids[2:]
