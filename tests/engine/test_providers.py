"""What a hit leaves out of a route's tree, and what its answer may be made from."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    Header,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.dependencies.utils import get_dependant
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader, SecurityScopes
from pydantic import BaseModel

from app.cache import authenticator, provider
from app.cache.engine.providers import (
    Sight,
    deferred,
    is_authenticator,
    is_provider,
    sight_of,
)
from app.database import get_session
from app.managers.auth import AuthManager
from tests.engine.each import on_one_storage

pytestmark = on_one_storage


@provider
def session() -> str:
    return "session"


@provider
def manager(session: Annotated[str, Depends(session)]) -> str:
    return f"manager of {session}"


@provider
def of_request(request: Request) -> str:
    return request.url.path


@provider
def of_header(x_tenant: Annotated[str, Header()]) -> str:
    return x_tenant


@provider
def of_response(response: Response) -> None: ...


@provider
def of_tasks(tasks: BackgroundTasks) -> None: ...


@provider
def of_scopes(scopes: SecurityScopes) -> None: ...


def decides() -> None: ...


def decides_on(session: Annotated[str, Depends(session)]) -> None: ...


@provider
def above(_: Annotated[None, Depends(decides)]) -> None: ...


@authenticator
def who(request: Request) -> str:
    return request.headers["authorization"]


@provider
def of_who(who: Annotated[str, Depends(who)]) -> str:
    return who


class Paging(BaseModel):
    page: int = 1


def dependant(call: Callable[..., Any]) -> Any:
    return get_dependant(path="/{item}", call=call)


def names(call: Callable[..., Any]) -> set[str]:
    """Return the parameters for which a hit makes nothing."""
    return {str(each.name) for each in deferred(dependant(call))}


def test_a_provider_waits_for_the_handler() -> None:
    def handler(
        a: Annotated[str, Depends(session)],
        b: Annotated[str, Depends(manager)],
        c: Annotated[None, Depends(decides)],
    ) -> None: ...

    assert names(handler) == {"a", "b"}


@pytest.mark.parametrize(
    "call", [of_header, of_response, of_tasks, of_scopes, above, decides, of_who]
)
def test_what_could_decide_or_set_something_does_not_wait(
    call: Callable[..., Any],
) -> None:
    def handler(a: Annotated[Any, Depends(call)]) -> None: ...

    assert names(handler) == set()


def test_nothing_is_made_twice() -> None:
    """What runs before the handler shares its session with it."""

    def handler(
        a: Annotated[str, Depends(session)],
        b: Annotated[str, Depends(manager)],
        c: Annotated[None, Depends(decides_on)],
    ) -> None: ...

    assert names(handler) == set()


def test_a_provider_of_another_name_still_waits() -> None:
    @provider
    def client() -> str:
        return "client"

    def handler(
        a: Annotated[str, Depends(session)],
        b: Annotated[None, Depends(decides_on)],
        c: Annotated[str, Depends(client)],
    ) -> None: ...

    assert names(handler) == {"c"}


def test_a_wrapper_of_a_provider_is_none() -> None:
    def tenant_session() -> str:
        return session()

    assert is_provider(session)
    assert not is_provider(tenant_session)
    assert not is_provider(lambda: session())
    assert not is_provider([])


def test_an_instance_authenticates_if_its_class_does() -> None:
    class Own(AuthManager):
        async def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return None

    assert is_authenticator(who)
    assert is_authenticator(AuthManager())
    assert not is_authenticator(AuthManager)  # its instances are
    assert not is_authenticator(Own())  # whatever it looks at besides
    assert is_provider(get_session)


def seen(call: Callable[..., Any]) -> Sight:
    return sight_of(dependant(call))


def test_a_handler_of_its_own_parameters_sees_nothing_else() -> None:
    def handler(
        item: int,
        page: int,
        x_tenant: Annotated[str, Header()],
        theme: Annotated[str, Cookie()],
        a: Annotated[str, Depends(session)],
    ) -> None: ...

    # Those are parameters of the handler, so their values tell requests apart.
    assert seen(handler) == Sight()


@pytest.mark.parametrize("kind", [Request, HTTPConnection])
def test_who_takes_the_raw_request_sees_all_of_it(kind: type) -> None:
    def handler(request: kind) -> None: ...  # type: ignore[valid-type]

    def dependency(request: kind) -> None: ...  # type: ignore[valid-type]

    def deep(_: Annotated[None, Depends(dependency)]) -> None: ...

    def above_deep(_: Annotated[None, Depends(deep)]) -> None: ...

    assert seen(handler).raw
    assert seen(deep).raw
    assert seen(above_deep).raw


def test_a_provider_may_take_the_request() -> None:
    """What it makes tells no two requests apart: that is what it was declared for."""

    def handler(a: Annotated[str, Depends(of_request)]) -> None: ...

    assert seen(handler) == Sight()


def test_what_dependencies_declare_is_seen_by_name() -> None:
    def paging(page: int, size: Annotated[int, Query(alias="per-page")]) -> None: ...

    def tenant(
        x_tenant: Annotated[str, Header()],
        theme: Annotated[str, Cookie()],
        _: Annotated[None, Depends(paging)],
    ) -> None: ...

    def handler(_: Annotated[None, Depends(tenant)]) -> None: ...

    assert seen(handler) == Sight(
        headers={"x-tenant"},
        cookies={"theme"},
        query={"page", "per-page"},
    )


def test_a_model_of_parameters_or_a_body_may_be_anything() -> None:
    def by_header(paging: Annotated[Paging, Header()]) -> None: ...

    def by_query(paging: Annotated[Paging, Query()]) -> None: ...

    def by_body(text: Annotated[str, Body()]) -> None: ...

    for dependency in (by_header, by_query, by_body):

        def handler(_: Annotated[None, Depends(dependency)]) -> None: ...

        assert seen(handler).raw


def test_who_takes_credentials_sees_all() -> None:
    def handler(key: Annotated[str, Security(APIKeyHeader(name="k"))]) -> None: ...

    assert seen(handler).raw


def test_a_handler_that_is_told_who_asks_sees_the_principal() -> None:
    def told(user: Annotated[str, Depends(who)]) -> None: ...

    def deep(_: Annotated[str, Depends(of_who)]) -> None: ...

    assert seen(told) == Sight(principal=True)
    assert seen(deep) == Sight(principal=True)


def test_a_check_whose_value_goes_nowhere_tells_the_handler_nothing() -> None:
    tree = dependant(lambda: None)
    tree.dependencies.append(get_dependant(path="/", call=who))
    assert sight_of(tree) == Sight()
