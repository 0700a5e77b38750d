"""C2: whatever declares it, what an answer was made from tells requests apart."""

import functools
import inspect
from collections.abc import Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import AliasChoices, BaseModel
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.cache import authenticator, cached, provider
from app.database import Database, SessionDep
from app.models import User
from tests.engine.conftest import Serve
from tests.people import Person

router = APIRouter(prefix="/apart")


class Made:
    """What no key can hold."""

    def __init__(self, of: Any) -> None:
        self.of = of


class Filter(BaseModel):
    active: bool = False


class Sent(BaseModel):
    x_tenant: IPv4Address


def by_header(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Take a header that the handler does not, and give it something made of that."""

    @functools.wraps(handler)
    async def wrapper(x_tenant: str) -> Any:
        return await handler(made=Made(x_tenant))

    declared = inspect.Parameter(
        "x_tenant", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, Header()]
    )
    wrapper.__signature__ = inspect.Signature([declared])  # type: ignore[attr-defined]
    return wrapper


def of_alias(
    tenant: Annotated[str, Header(validation_alias="x-tenant")],
) -> Made:
    return Made(tenant)


def of_choices(
    tenant: Annotated[
        str, Header(validation_alias=AliasChoices("x-tenant", "x-other"))
    ],
) -> Made:
    return Made(tenant)


def of_path(thing: int) -> Made:
    return Made(thing)


def seven() -> int:
    return 7


@router.get("/own-header")
@cached()
async def own_header(x_tenant: Annotated[IPv4Address, Header()]) -> str:
    return str(x_tenant)


@router.get("/header-model")
@cached()
async def header_model(sent: Annotated[Sent, Header()]) -> str:
    return str(sent.x_tenant)


@router.get("/alias")
@cached()
async def alias(made: Annotated[Any, Depends(of_alias)]) -> str:
    return str(made.of)


@router.get("/choices")
@cached()
async def choices(made: Annotated[Any, Depends(of_choices)]) -> str:
    return str(made.of)


@router.get("/decorator")
@by_header
@cached()
async def decorator(made: Any) -> str:
    return str(made.of)


@pytest.mark.parametrize(
    "path", ["own-header", "header-model", "alias", "choices", "decorator"]
)
async def test_a_header_by_whatever_it_is_declared(serve: Serve, path: str) -> None:
    client = await serve(router)
    for tenant in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        answer = await client.get(f"/apart/{path}", headers={"x-tenant": tenant})
        assert answer.json() == tenant


@router.get("/unset")
@cached()
async def unset(given: Annotated[Filter, Query()]) -> dict[str, Any]:
    return given.model_dump(exclude_unset=True)


async def test_a_default_that_was_sent_from_one_that_was_not(serve: Serve) -> None:
    client = await serve(router)
    assert (await client.get("/apart/unset")).json() == {}
    sent = await client.get("/apart/unset?active=false")
    assert sent.json() == {"active": False}


@router.get("/body")
@cached()
async def body(request: Request) -> str:
    return (await request.body()).decode()


async def test_the_body_of_a_get(serve: Serve) -> None:
    client = await serve(router)
    for sent in ("a", "b"):
        answer = await client.request("GET", "/apart/body", content=sent)
        assert answer.json() == sent


@router.get("/things/{thing}")
@cached()
async def things(
    made: Annotated[Any, Depends(of_path)], thing: Annotated[int, Depends(seven)]
) -> int:
    found: int = made.of
    return found


async def test_a_path_whose_name_means_something_else_to_the_handler(
    serve: Serve,
) -> None:
    client = await serve(router)
    for thing in (1, 2):
        assert (await client.get(f"/apart/things/{thing}")).json() == thing


# What was read before the look-up


@provider
async def for_language(
    session: SessionDep, lang: Annotated[str, Query()] = "en"
) -> Made:
    return Made(await session.scalar(select(User.first_name)))


@provider
async def for_builder(session: SessionDep) -> Made:
    return Made(await session.scalar(select(User.first_name)))


def by_made(*_: object, kwargs: dict[str, Any], **__: object) -> str:
    return f"apart:{kwargs['made'] is not None}"


class Partner:
    """An authenticator that shares the request's session with the handler."""

    @authenticator
    async def __call__(self, request: Request, session: SessionDep) -> list[User]:
        request.state.principal = SimpleNamespace(user_id=1, scopes=frozenset())
        return list(await session.scalars(select(User)))


@router.get("/read/parameter")
@cached()
async def read_by_parameter(made: Annotated[Any, Depends(for_language)]) -> str:
    return str(made.of)


@router.get("/read/builder")
@cached(namespace="apart", key_builder=by_made)
async def read_by_builder(made: Annotated[Any, Depends(for_builder)]) -> str:
    return str(made.of)


@router.get("/read/identity-map/{of}", dependencies=[Depends(Partner())])
@cached()
async def read_by_authenticator(of: int, session: SessionDep) -> str:
    return (await session.get_one(User, of)).first_name


@pytest.mark.parametrize("path", ["parameter", "builder", "identity-map/{id}"])
async def test_what_was_read_before_the_look_up_counts(
    serve: Serve, database: Database, user: Person, path: str
) -> None:
    client = await serve(router)
    url = f"/apart/read/{path}".replace("{id}", str(user.id))
    for name in ("Ann", "Bea", "Cia"):
        session: AsyncSession
        async with database.session() as session:
            await session.execute(update(User).values(first_name=name))
        for _ in range(3):
            assert (await client.get(url)).json() == name
