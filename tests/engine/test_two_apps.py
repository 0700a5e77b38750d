"""C14: each application of a process has a cache, a database and users of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import update

from app.cache import cached, invalidate_namespace
from app.cache.engine.exchange import running
from app.cache.engine.processes import epoch_file
from app.config import Settings
from app.database.migrate import upgrade
from app.main import create_app
from app.models import User
from tests.asgi import lifespan
from tests.engine.answers import outcome

PERSON = {
    "password": "correct horse battery staple",
    "first_name": "A",
    "last_name": "B",
}

runs = count(1)
router = APIRouter()


@router.get("/run")
@cached(namespace="runs")
async def run() -> int:
    return next(runs)


@cached(namespace="values")
async def value() -> int:
    return next(runs)


@router.get("/value")
async def of_value() -> list[int]:
    return [await value(), await value()]


@router.post("/drop")
async def drop() -> None:
    await invalidate_namespace("runs")


class Service:
    """One of two applications, with its first user."""

    client: httpx.AsyncClient
    headers: dict[str, str]

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self.epoch = epoch_file(settings.database_url)
        self.app: FastAPI = create_app(settings)
        self.app.include_router(router)
        self.stack = AsyncExitStack()

    async def start(self) -> None:
        await self.stack.enter_async_context(lifespan(self.app))
        transport = httpx.ASGITransport(self.app)
        self.client = await self.stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://service")
        )

    async def register(self) -> None:
        person = PERSON | {"email": f"{self.name}@example.com"}
        answer = await self.client.post("/register/", json=person)
        assert answer.status_code == 201, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json()['token']}"}

    async def me(self) -> tuple[str, str | None]:
        answer = await self.client.get("/users/me", headers=self.headers)
        return answer.json()["email"], outcome(answer)

    async def run(self) -> tuple[int, str | None]:
        answer = await self.client.get("/run")
        return answer.json(), outcome(answer)

    async def rename(self, name: str) -> None:
        async with self.app.state.database.session() as session:
            await session.execute(
                update(User).where(User.id == 1).values(first_name=name)
            )

    async def first_name(self) -> str:
        answer = await self.client.get("/users/me", headers=self.headers)
        name: str = answer.json()["first_name"]
        return name


@pytest.fixture
async def services(
    settings: Settings, storage: str, empty_database_url: str
) -> AsyncIterator[list[Service]]:
    """Yield two services that run, each with a user whose id is 1."""
    own = {"database_url": empty_database_url, "cache_prefix": "two"}
    another = settings.model_copy(update=own)
    await asyncio.to_thread(upgrade, another)
    found = [Service(settings, "one"), Service(another, "two")]
    for service in found:
        await service.start()
        await service.register()
    yield found
    for service in found:
        await service.stack.aclose()
    assert running == []


def share_an_epoch(services: list[Service], storage: str) -> bool:
    """Tell whether what one changes empties the other: PostgreSQL has no folder."""
    return storage == "memory" and services[0].epoch == services[1].epoch


async def test_each_answers_with_its_own(services: list[Service]) -> None:
    for expected in ("MISS", "HIT", "HIT"):
        for service in services:
            assert await service.me() == (f"{service.name}@example.com", expected)
    ones, twos = await services[0].run(), await services[1].run()
    assert ones[0] != twos[0]
    assert await services[0].run() == (ones[0], "HIT")
    assert await services[1].run() == (twos[0], "HIT")


async def test_a_commit_is_seen_by_its_own_application_only(
    services: list[Service], storage: str
) -> None:
    one, two = services
    for service in services:
        for _ in "12":
            await service.me()
    for number, (writer, reader) in enumerate([(one, two), (two, one), (one, two)]):
        await writer.rename(f"Renamed {number}")
        assert await writer.first_name() == f"Renamed {number}"
        email, found = await reader.me()
        assert email == f"{reader.name}@example.com"
        assert found == "HIT" or share_an_epoch(services, storage)


async def test_what_a_request_invalidates_is_its_own(
    services: list[Service], storage: str
) -> None:
    one, two = services
    before = [(await service.run())[0] for service in services]
    assert (await one.client.post("/drop")).status_code == 200
    assert (await one.run())[0] != before[0]
    again = await two.run()
    assert again == (before[1], "HIT") or share_an_epoch(services, storage)


async def test_a_function_has_a_value_for_each(services: list[Service]) -> None:
    one, two = [(await s.client.get("/value")).json() for s in services]
    assert one[0] == one[1] != two[0] == two[1]
    assert (await services[0].client.get("/value")).json() == one


async def test_where_nothing_tells_whose_it_is_nothing_is_shared(
    services: list[Service],
) -> None:
    assert await value() != await value()
    before = [(await service.run())[0] for service in services]
    await invalidate_namespace("runs")  # so it is dropped from both
    for service, old in zip(services, before, strict=True):
        assert (await service.run())[0] != old


@pytest.mark.parametrize("first", [0, 1])
async def test_one_goes_on_when_the_other_has_stopped(
    services: list[Service], first: int
) -> None:
    stopped, left = services[first], services[1 - first]
    await left.me()
    await stopped.stack.aclose()
    assert (await left.me())[1] == "HIT"
    await left.rename("Renamed")
    assert await left.first_name() == "Renamed"
    before = await left.run()
    assert await left.run() == (before[0], "HIT")
    await stopped.start()
    assert await left.run() == (before[0], "HIT")
    await stopped.rename("Again")
    assert await stopped.first_name() == "Again"


async def test_concurrent_requests_to_both_are_answered_by_each(
    services: list[Service],
) -> None:
    for _ in range(5):
        await invalidate_namespace("")
        answers = await asyncio.gather(*(s.me() for s in services * 10))
        expected = [f"{s.name}@example.com" for s in services * 10]
        assert [email for email, _ in answers] == expected


async def test_two_prefixes_on_one_database_hear_of_each_others_commits(
    settings: Settings, storage: str
) -> None:
    another = settings.model_copy(update={"cache_prefix": "two"})
    one, two = Service(settings, "one"), Service(another, "one")
    for service in (one, two):
        await service.start()
    await one.register()
    two.headers = one.headers
    for number in range(4):
        writer = (one, two)[number % 2]
        for _ in "12":
            for service in (one, two):
                await service.first_name()
        await writer.rename(f"Renamed {number}")
        for service in (one, two):
            assert await service.first_name() == f"Renamed {number}"
    for service in (two, one):
        await service.stack.aclose()
