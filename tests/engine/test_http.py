"""Conditions (RFC 9110 13), directives (RFC 9111 5.2.1), Cache-Status (RFC 9211)."""

import logging
import re
import time
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response

from app.cache import cached, invalidate_namespace
from app.cache.engine.exchange import running
from tests.engine.answers import cached_paths, outcome
from tests.engine.each import on_one_storage
from tests.engine.wire import WAYS, asking
from tests.people import Person

pytestmark = on_one_storage


runs: list[str] = []
router = APIRouter(prefix="/http")


@router.get("/plain")
@cached(expire=100)
async def plain(request: Request) -> str:
    runs.append(request.method)
    return "an answer"


@router.get("/own")
@cached()
async def own_tag() -> Response:
    return Response("x", headers={"ETag": 'W/"mine"', "Content-Location": "/o"})


@router.get("/fails")
@cached()
async def fails() -> None:
    raise HTTPException(404)


@pytest.fixture(params=WAYS)
async def client(
    app: FastAPI, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    """Ask on a connection that stays open, too."""
    async with asking(app, request.param) as client:
        yield client


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    runs.clear()
    return (router,)


@pytest.fixture
async def tag(client: httpx.AsyncClient) -> str:
    """Return the entity tag of /http/plain, which is stored then."""
    tag: str = (await client.get("/http/plain")).headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]+"', tag)
    return tag


CONDITIONS = [
    ({"If-None-Match": "{}"}, 304),
    ({"If-None-Match": "W/{}"}, 304),
    ({"If-None-Match": '"a", {}'}, 304),
    ({"If-None-Match": '"a",W/{} , "b"'}, 304),
    ({"If-None-Match": '"a, b", {}'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"a"'}, 200),
    ({"If-None-Match": ""}, 200),
    ({"If-None-Match": "garbage"}, 200),
    ({"If-None-Match": '"*"'}, 200),
    # It is for writes: without a cache, FastAPI does not look at it either.
    ({"If-Match": '"a"'}, 200),
    # There is no Last-Modified: 13.1.3 and 13.1.4 have them ignored.
    ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
    ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
]


@pytest.mark.parametrize("fresh", [False, True])
async def test_conditions(client: httpx.AsyncClient, tag: str, fresh: bool) -> None:
    for headers, status in CONDITIONS:
        if fresh:
            await invalidate_namespace("")
        sent = {name: value.format(tag) for name, value in headers.items()}
        answer = await client.get("/http/plain", headers=sent)
        assert answer.status_code == status, headers
        assert outcome(answer) == ("MISS" if fresh else "HIT")
        assert bool(answer.content) == (status == 200)
        if status == 304:
            kept = {"etag", "cache-control", "vary"}
            assert kept <= set(answer.headers)
            assert "content-type" not in answer.headers
            assert answer.headers["etag"] == tag


async def test_conditions_in_several_lines_are_one(
    client: httpx.AsyncClient, tag: str
) -> None:
    lines = [("If-None-Match", '"a"'), ("If-None-Match", tag)]
    assert (await client.get("/http/plain", headers=lines)).status_code == 304


async def test_a_weak_tag_of_ones_own_matches_weakly(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(2):
        for sent in ('"mine"', 'W/"mine"'):
            none = await client.get("/http/own", headers={"If-None-Match": sent})
            assert none.status_code == 304
            assert none.headers["content-location"] == "/o"


DIRECTIVES = [
    ("no-cache", "MISS"),
    ("No-Cache", "MISS"),
    ("no-transform, no-cache", "MISS"),
    ("no-cache=x", "MISS"),
    ("max-age=0", "MISS"),
    ('max-age="0"', "MISS"),
    ("max-age=soon", "MISS"),
    ("max-age=-1", "MISS"),
    ("max-age=1000", "HIT"),
    ("max-age=99999999999999999999", "HIT"),
    ("max-stale", "HIT"),
    ("no-transform", "HIT"),
    ('ext="no-store, no-cache"', "HIT"),
    ("", "HIT"),
    (",, ;=", "HIT"),
    ("only-if-cached", "HIT"),
    ("no-store", None),
    ("no-transform,no-store", None),
    ("no-store, no-cache", None),
]


async def test_directives(client: httpx.AsyncClient, tag: str) -> None:
    for text, wanted in DIRECTIVES:
        before = len(runs)
        answer = await client.get("/http/plain", headers={"Cache-Control": text})
        assert (answer.status_code, outcome(answer)) == (200, wanted), text
        assert len(runs) - before == (wanted != "HIT"), text


async def test_directives_in_several_lines_are_one(
    client: httpx.AsyncClient, tag: str
) -> None:
    lines = [("Cache-Control", "no-transform"), ("Cache-Control", "no-cache")]
    assert outcome(await client.get("/http/plain", headers=lines)) == "MISS"
    pragma = await client.get("/http/plain", headers={"Pragma": "no-cache"})
    assert outcome(pragma) == "MISS"
    both = {"Pragma": "no-cache", "Cache-Control": "max-age=9"}
    assert outcome(await client.get("/http/plain", headers=both)) == "HIT"


async def test_no_cache_updates_what_others_are_given(
    client: httpx.AsyncClient, tag: str
) -> None:
    fresh = await client.get("/http/plain", headers={"Cache-Control": "no-cache"})
    assert "fwd=request" in fresh.headers["cache-status"]
    assert "stored" in fresh.headers["cache-status"]
    assert outcome(await client.get("/http/plain")) == "HIT"


async def test_no_store_neither_reads_nor_stores(client: httpx.AsyncClient) -> None:
    no_store = {"Cache-Control": "no-store"}
    assert outcome(await client.get("/http/plain", headers=no_store)) is None
    assert outcome(await client.get("/http/plain")) == "MISS"
    await client.get("/http/plain", headers=no_store)
    assert len(runs) == 3


async def test_only_if_cached_never_runs_the_handler(
    client: httpx.AsyncClient,
) -> None:
    only = {"Cache-Control": "only-if-cached"}
    answer = await client.get("/http/plain", headers=only)
    assert (answer.status_code, runs) == (504, [])
    assert not len(running[-1].flights)


async def test_an_entry_grows_old(
    client: httpx.AsyncClient, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 40)
    hit = await client.get("/http/plain", headers={"Cache-Control": "max-age=50"})
    assert hit.headers["age"] in ("39", "40")
    assert re.search(r"ttl=(59|60)$", hit.headers["cache-status"])
    for _ in range(2):
        young = {"Cache-Control": "max-age=30"}
        answer = await client.get("/http/plain", headers=young)
        assert outcome(answer) == "MISS"
        assert "age" not in answer.headers
        monkeypatch.setattr("time.time", lambda: now + 80)


async def test_head_is_answered_from_the_entry_of_get(
    client: httpx.AsyncClient,
) -> None:
    first = await client.head("/http/plain")
    get = await client.get("/http/plain")
    again = await client.head("/http/plain")
    assert [outcome(a) for a in (first, get, again)] == ["MISS", "HIT", "HIT"]
    assert runs == ["GET"]
    for head in (first, again):
        assert head.status_code == 200
        assert head.content == b""
        for name in ("etag", "content-type", "content-length", "vary"):
            assert head.headers[name] == get.headers[name]
    missing = await client.head("/http/fails")
    assert (missing.status_code, missing.content) == (404, b"")
    same = await client.head("/http/plain", headers={"If-None-Match": "*"})
    assert same.status_code == 304


async def test_head_knows_the_path_below_which_a_proxy_serves(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        assert (await client.get("/api/http/plain")).status_code == 200
        assert outcome(await client.head("/api/http/plain")) == "HIT"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused_as_ever(
    client: httpx.AsyncClient, tag: str, method: str
) -> None:
    answer = await client.request(method, "/http/plain")
    assert (answer.status_code, outcome(answer)) == (405, None)


# RFC 8941: a token with parameters, whose values are as RFC 9211 2 has them.
_MEMBER = re.compile(
    r"""[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*(?P<parameters>(?:;[ ]*(?:
    hit | stored | collapsed | ttl=-?[0-9]{1,15} | fwd-status=[0-9]{3}
    | fwd=(?:bypass|method|uri-miss|vary-miss|miss|request|stale|partial)
    | detail=[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*
    | key="(?:[ !\#-\[\]-~]|\\["\\])*"))*)""",
    re.VERBOSE,
)


def _parameters(answer: httpx.Response) -> set[str]:
    member = _MEMBER.fullmatch(answer.headers["cache-status"])
    assert member is not None, answer.headers["cache-status"]
    found = member["parameters"].split(";")[1:]
    keys = [text.strip().partition("=")[0] for text in found]
    assert len(keys) == len(set(keys))
    return set(keys)


async def test_cache_status_of_each_cached_route(
    app: FastAPI, client: httpx.AsyncClient, user: Person, admin: Person
) -> None:
    directives = ("", "no-cache", "no-store", "only-if-cached", "max-age=0")
    seen = set()
    for path in cached_paths(app):
        url = path.format(user_id=user.id, key_id=1)
        query = {"field": "role", "term": "e"} if path.endswith("/search") else {}
        for text in ("only-if-cached", "", *directives):
            sent = admin.headers | {"Cache-Control": text}
            answer = await client.get(url, params=query, headers=sent)
            keys = _parameters(answer)
            assert not {"hit", "fwd"} <= keys
            assert ("hit" in keys) == (outcome(answer) == "HIT")
            assert ("fwd" in keys) or not keys & {"stored", "collapsed"}
            assert ("age" in answer.headers) == ("hit" in keys)
            seen |= keys
    assert seen == {"hit", "ttl", "fwd", "stored", "detail"}


async def test_log_lines(
    client: httpx.AsyncClient, admin: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.cache")
    caplog.clear()
    for _ in range(2):
        await client.get("/users/?secret=x", headers=admin.headers)
    lines = [r.getMessage() for r in caplog.records if r.name == "app.cache"]
    assert len(lines) == 2
    for line, word in zip(lines, ("MISS", "HIT"), strict=True):
        assert re.fullmatch(
            rf"CACHE {word}: GET /users/ \([0-9]+\.[0-9]{{2}}ms\)", line
        )
