"""Who shares an entry: all who may be given it, in all processes, and nobody else."""

from collections.abc import Sequence
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request

from app.cache import cached, paginated_key_builder, provider
from app.config import Settings
from app.main import create_app
from app.managers.auth import CurrentUser
from app.models import Role
from tests.asgi import lifespan
from tests.engine.answers import outcome
from tests.engine.each import OUTLIVING
from tests.people import LogIn, MakeUser, Person


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    router = APIRouter(prefix="/shared")

    @router.get("/page")
    @cached(namespace="shared", key_builder=paginated_key_builder)
    async def page(page: int = 1, size: int = 10) -> list[int]:
        return [page, size]

    @router.get("/raw")
    @cached(namespace="shared", key_builder=paginated_key_builder)
    async def raw(request: Request) -> str:
        return request.headers.get("x-tenant", "none")

    @router.get("/fewer")
    @cached(namespace="shared", vary=["X-Tenant"])
    async def fewer(request: Request) -> str:
        return request.headers.get("x-tenant", "none")

    @router.get("/state")
    @cached(namespace="shared")
    async def state(request: Request) -> str:
        return str(request.state.request_id)

    return (router,)


async def test_all_who_may_ask_for_a_list_share_it(
    client: httpx.AsyncClient, make_user: MakeUser, log_in: LogIn
) -> None:
    one, two = await make_user(Role.admin), await make_user(Role.admin)
    answers = [await client.get("/users/", headers=one.headers)]
    answers.append(await client.get("/users/", headers=two.headers))
    again = await log_in(two)
    answers.append(await client.get("/users/", headers=again.headers))
    # The second login has created a session, which is no part of the list.
    assert [outcome(answer) for answer in answers] == ["MISS", "HIT", "HIT"]


async def test_credentials_do_not_tell_apart_what_nobody_is_told(
    client: httpx.AsyncClient, user: Person, other: Person
) -> None:
    people = [{}, user.headers, other.headers]
    answers = [await client.get("/shared/page", headers=each) for each in people]
    assert [outcome(answer) for answer in answers] == ["MISS", "HIT", "HIT"]


async def test_a_raw_request_is_told_apart_by_all_of_it(
    client: httpx.AsyncClient,
) -> None:
    tenants = ("acme", "globex", "acme", "globex")
    answers = [
        await client.get("/shared/raw", headers={"X-Tenant": tenant})
        for tenant in tenants
    ]
    assert [answer.json() for answer in answers] == list(tenants)
    assert [outcome(answer) for answer in answers] == ["MISS", "MISS", "HIT", "HIT"]
    ignored = {"X-Tenant": "acme", "User-Agent": "another", "Traceparent": "00-1"}
    assert outcome(await client.get("/shared/raw", headers=ignored)) == "HIT"
    for more in ({"Host": "other"}, {"Accept-Language": "de"}, {"Cookie": "a=1"}):
        answer = await client.get("/shared/raw", headers={"X-Tenant": "acme"} | more)
        assert outcome(answer) == "MISS", more


async def test_vary_names_what_counts(client: httpx.AsyncClient) -> None:
    for tenant, wanted in (("acme", "MISS"), ("globex", "MISS"), ("acme", "HIT")):
        headers = {"X-Tenant": tenant, "Accept-Language": wanted}
        answer = await client.get("/shared/fewer", headers=headers)
        assert (answer.json(), outcome(answer)) == (tenant, wanted)


async def test_the_state_of_a_middleware_counts_where_it_is_read(
    client: httpx.AsyncClient,
) -> None:
    for identity in ("one", "two", "three"):
        headers = {"X-Request-ID": identity}
        answer = await client.get("/shared/state", headers=headers)
        assert answer.json() == identity


@pytest.mark.parametrize("storage", OUTLIVING, indirect=True)
async def test_another_process_finds_what_one_has_stored(
    settings: Settings, storage: str
) -> None:
    for wanted in ("MISS", "HIT"):
        app: FastAPI = create_app(settings)
        router = APIRouter()

        @router.get("/kept")
        @cached(namespace="kept")
        async def kept(page: int = 1) -> dict[str, int]:
            return {"page": page}

        app.include_router(router, prefix="/below")
        transport = httpx.ASGITransport(app)
        async with (
            lifespan(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            assert outcome(await client.get("/below/kept?page=2")) == wanted


async def test_applications_by_host_and_by_mount_have_their_own(
    settings: Settings, storage: str
) -> None:
    def below(name: str) -> FastAPI:
        sub = FastAPI()
        sub.state.name = name
        sub.include_router(router)
        return sub

    @provider
    def name_of(request: Request) -> str:
        name: str = request.app.state.name
        return name

    router = APIRouter()

    @router.get("/name")
    @cached(namespace="below", key_builder=paginated_key_builder)
    async def name(name: Annotated[str, Depends(name_of)]) -> str:
        return name

    app = create_app(settings)
    app.mount("/one", below("one"))
    twice = below("twice")
    app.mount("/two", twice)
    app.mount("/three", twice)
    app.router.host("a.example", below("a"))
    app.router.host("b.example", below("b"))
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for wanted in ("MISS", "HIT"):
            for path, text in (("one", "one"), ("two", "twice"), ("three", "twice")):
                answer = await client.get(f"/{path}/name")
                assert (answer.json(), outcome(answer)) == (text, wanted), path
            for host in ("a", "b"):
                answer = await client.get(f"http://{host}.example/name")
                assert (answer.json(), outcome(answer)) == (host, wanted)
    assert twice.router.routes  # and it is as it was
    plain = httpx.ASGITransport(twice)
    async with httpx.AsyncClient(transport=plain, base_url="http://service") as client:
        assert (await client.get("/name")).json() == "twice"


async def test_an_owner_s_key_never_gives_one_user_another_s_answer(
    settings: Settings, storage: str, make_user: MakeUser, app: FastAPI
) -> None:
    """Although it does not name who asks, nor the parameter."""

    def one_key(*_: object, **__: object) -> str:
        return "one:key"

    ann, bob = await make_user(), await make_user()
    router = APIRouter()

    @router.get("/mine")
    @cached(key_builder=one_key)
    async def mine(user: CurrentUser, page: int = 1) -> list[int]:
        return [user.id, page]

    other = create_app(settings)
    other.include_router(router)
    transport = httpx.ASGITransport(other)
    async with (
        lifespan(other),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for wanted in ("MISS", "HIT"):
            for person in (ann, bob):
                for page in (1, 2):
                    answer = await client.get(
                        f"/mine?page={page}", headers=person.headers
                    )
                    assert answer.json() == [person.id, page]
                    assert outcome(answer) == wanted
