"""C5: one function on two routes is two things to cache."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from app.cache import cached, paginated_key_builder, user_scoped_key_builder
from app.managers.auth import CurrentUser
from tests.cache.answers import outcome
from tests.people import Person


class Staff:
    """What the handler of the staff waits for."""

    may_end: asyncio.Event


class Public(BaseModel):
    name: str


class Full(Public):
    salary: int


ANN = {"name": "Ann", "salary": 70_000}
PUBLIC = {"name": "Ann"}

runs: Counter[str] = Counter()
router = APIRouter(prefix="/two")


@router.get("/staff", response_model=Public)
@router.get("/admin/staff", response_model=Full)
@cached(namespace="staff", key_builder=paginated_key_builder)
async def staff(page: int = 1, size: int = 10) -> Any:
    runs["staff"] += 1
    await Staff.may_end.wait()
    return ANN


@router.get("/me/card", response_model=Public)
@router.get("/me/payslip", response_model=Full)
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def card(user: CurrentUser) -> Any:
    return ANN


@cached(namespace="fixed", key_builder=lambda *_, **__: "fixed")
async def fixed() -> Any:
    return ANN


router.get("/fixed/public", response_model=Public)(fixed)
router.get("/fixed/full", response_model=Full)(fixed)

included = APIRouter()


@included.get("/number")
@cached(key_builder=lambda *_, **__: "number")
async def number() -> int:
    runs["number"] += 1
    return runs["number"]


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    runs.clear()
    Staff.may_end = asyncio.Event()
    Staff.may_end.set()
    twice = APIRouter()
    for prefix in ("/first", "/{second}"):
        twice.include_router(included, prefix=prefix)
    return (router, twice)


@pytest.mark.parametrize(
    ("full", "public"),
    [
        ("/two/admin/staff", "/two/staff"),
        ("/two/me/payslip", "/two/me/card"),
        ("/two/fixed/full", "/two/fixed/public"),
    ],
)
@pytest.mark.parametrize("first", ["full", "public"])
async def test_each_route_answers_by_its_own_model(
    client: httpx.AsyncClient, user: Person, full: str, public: str, first: str
) -> None:
    order = [(full, ANN), (public, PUBLIC)]
    if first == "public":
        order.reverse()
    for expected in ("MISS", "HIT", "HIT"):
        for path, body in order:
            answer = await client.get(path, headers=user.headers)
            assert (answer.json(), outcome(answer)) == (body, expected)


async def test_nobody_waits_for_the_run_of_another_route(
    client: httpx.AsyncClient,
) -> None:
    Staff.may_end.clear()
    paths = ["/two/admin/staff", "/two/staff"] * 5
    tasks = [asyncio.create_task(client.get(path)) for path in paths]
    async with asyncio.timeout(30):
        while runs["staff"] < 2:  # noqa: ASYNC110 - two handlers, no single event
            await asyncio.sleep(0)
        Staff.may_end.set()
        answers = await asyncio.gather(*tasks)
    assert [answer.json() for answer in answers] == [ANN, PUBLIC] * 5
    assert runs["staff"] == 2


async def test_a_router_that_is_included_twice_has_two_of_each_route(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(2):
        assert (await client.get("/first/number")).json() == 1
        assert (await client.get("/other/number")).json() == 2


@pytest.fixture
def mounted(app: FastAPI) -> None:
    """Mount two applications that show less, and more, of one function."""
    for path, model in (("/less", Public), ("/more", Full)):
        inner = FastAPI()
        inner.get("/fixed", response_model=model)(fixed)
        inner.include_router(included, prefix="/first")
        app.mount(path, inner)


@pytest.mark.usefixtures("mounted")
async def test_a_mounted_application_has_its_own(client: httpx.AsyncClient) -> None:
    for expected in ("MISS", "HIT", "HIT"):
        for path, body in (
            ("/two/fixed/full", ANN),
            ("/less/fixed", PUBLIC),
            ("/more/fixed", ANN),
        ):
            answer = await client.get(path)
            assert (answer.json(), outcome(answer)) == (body, expected)
    paths = ("/first/number", "/less/first/number", "/more/first/number")
    assert [(await client.get(path)).json() for path in paths] == [1, 2, 3]
