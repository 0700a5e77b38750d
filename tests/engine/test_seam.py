"""C12, the public interface, and what is checked before a service starts."""

import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi_cache.coder import PickleCoder

import app.cache
from app.cache import (
    cache_policy,
    cached,
    paginated_key_builder,
    shared_key_builder,
    user_scoped_key_builder,
    users_list_key_builder,
)
from app.config import Settings
from app.errors import StartupError
from app.main import create_app
from app.managers.auth import CurrentUser
from tests.asgi import lifespan
from tests.conftest import PROJECT
from tests.environment import settings_from

Routes = Callable[[APIRouter], None]


def test_off_is_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_ENABLED", "false")
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.switched_off"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = {name for name in done.stdout.split() if name.startswith("app.cache")}
    assert imported == {"app.cache", "app.cache.off"}
    assert not {"fastapi_cache", "jinja2"} & set(done.stdout.split())


def test_both_interfaces_have_the_same_names() -> None:
    from app.cache import off

    assert set(app.cache.__all__) <= set(vars(off))


def test_a_cache_that_is_switched_on_too_late_is_said_to_be(settings: Settings) -> None:
    from app.cache import off

    with pytest.raises(StartupError, match="CACHE_ENABLED was false when the routes"):
        off.install_cache(FastAPI(), settings)


def test_with_the_cache_off_the_decorator_returns_the_function(
    settings: Settings,
) -> None:
    def function() -> int:
        return 1

    with settings_from(CACHE_ENABLED="false"):
        assert cached(namespace="numbers")(function) is function
    assert cached(namespace="numbers")(function) is not function


def test_the_decorator_has_the_specified_parameters() -> None:
    parameters = inspect.signature(cached).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert defaults == {
        "expire": None,
        "namespace": "",
        "key_builder": None,
        "coder": None,
        "vary": None,
    }
    assert parameters["vary"].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_policy_says_how_an_endpoint_is_cached() -> None:
    @cached(60, "numbers", user_scoped_key_builder, PickleCoder)
    async def numbers() -> list[int]:
        return [1]

    policy = cache_policy(numbers)
    assert policy is not None
    assert (policy.expire, policy.namespace) == (60, "numbers")
    assert policy.key_builder_name == "user_scoped_key_builder"
    assert policy.coder is PickleCoder
    assert cache_policy(create_app) is None


def test_vary_is_a_list_of_headers() -> None:
    with pytest.raises(ValueError, match=r"vary=\['Accept'\]"):
        cached(vary="Accept")


@pytest.mark.parametrize("expire", [0, -1])
def test_an_entry_lives_for_at_least_a_second(expire: int) -> None:
    with pytest.raises(ValueError, match=f"expire={expire}"):
        cached(expire=expire)


def wrong_order(router: APIRouter) -> None:
    @cached()
    @router.get("/wrong")
    async def wrong() -> int:
        return 1


def on_post(router: APIRouter) -> None:
    @router.post("/wrong")
    @cached()
    async def wrong() -> int:
        return 1


def without_authentication(router: APIRouter) -> None:
    @router.get("/wrong")
    @cached(namespace="user", key_builder=user_scoped_key_builder)
    async def wrong(request: Request, response: Response) -> int:
        return 1


def shared_by_all(router: APIRouter) -> None:
    @router.get("/wrong")
    @cached(namespace="users", key_builder=paginated_key_builder)
    async def wrong(user: CurrentUser) -> int:
        return user.id


def shared_by_one_key(router: APIRouter) -> None:
    @router.get("/wrong")
    @cached(namespace="users:{user_id}", key_builder=shared_key_builder)
    async def wrong(user_id: int, user: CurrentUser) -> int:
        return user.id


def shared_by_all_below(router: APIRouter) -> None:
    async def name(user: CurrentUser) -> str:
        return user.email

    @router.get("/wrong")
    @cached(namespace="users", key_builder=users_list_key_builder)
    async def wrong(name: Annotated[str, Depends(name)]) -> str:
        return name


@pytest.mark.parametrize(
    ("add", "problem"),
    [
        (wrong_order, "it has to stand below the route's decorator"),
        (on_post, "POST /wrong is never cached"),
        (without_authentication, r"Depends\(AuthManager\(\)\)"),
        (shared_by_all, "paginated_key_builder has all users share what /wrong"),
        (shared_by_one_key, "shared_key_builder has all users share what /wrong"),
        (shared_by_all_below, "users_list_key_builder has all users share"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
async def test_a_route_that_could_not_be_cached_stops_the_start(
    add: Routes, problem: str, settings: Settings, nested: bool
) -> None:
    router, app = APIRouter(), create_app(settings)
    add(router)
    if nested:
        outer = APIRouter(prefix="/outer")
        outer.include_router(router)
        router, problem = outer, problem.replace("/wrong", "/outer/wrong")
    app.include_router(router)
    with pytest.raises(RuntimeError, match=problem) as raised:
        async with lifespan(app):
            pytest.fail("it started")
    message = str(raised.value)
    assert "test_seam" in message
    assert "wrong" in message
    assert "\n" not in message


async def test_an_application_that_was_not_started_says_once_that_nothing_is_cached(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app, router = create_app(settings), APIRouter()

    @router.get("/one")
    @cached()
    async def one() -> int:
        return 1

    app.include_router(router)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        answers = [await client.get("/one") for _ in "123"]
    assert [answer.json() for answer in answers] == [1, 1, 1]
    assert not any("x-fastapi-cache" in answer.headers for answer in answers)
    assert caplog.text.count("the application was not started") == 1


async def test_a_stream_by_yield_is_left_alone_and_that_is_said(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app, router = create_app(settings), APIRouter()

    @router.get("/stream", response_class=StreamingResponse)
    @cached()
    async def stream() -> AsyncIterator[str]:
        yield "a"

    app.include_router(router)
    async with lifespan(app):
        pass
    assert "stream is not cached: it streams by yield" in caplog.text


TYPED = """
from fastapi import Request
from fastapi_cache.coder import PickleCoder

from app.cache import cached, user_scoped_key_builder


@cached(expire=300, namespace="queries")
async def on_loop(first: int, *, second: str = "") -> list[int]:
    return [first]


@cached(namespace="x", key_builder=user_scoped_key_builder, coder=PickleCoder)
def in_thread(request: Request, first: int) -> dict[str, int]:
    return {"first": first}


def own_key(func: object, namespace: str, **kwargs: object) -> str:
    return namespace


@cached(key_builder=own_key)
async def with_own_key() -> None: ...


reveal_type(on_loop)
reveal_type(in_thread)
"""


def test_the_decorator_keeps_signatures_for_type_checkers(tmp_path: Path) -> None:
    file = tmp_path / "typed.py"
    file.write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(file)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error" not in done.stdout
    loop, thread = (line for line in done.stdout.splitlines() if "Revealed" in line)
    assert "def (first: int, *, second: str =) -> " in loop.replace("builtins.", "")
    assert "Coroutine[Any, Any, list[int]]" in loop.replace("builtins.", "")
    assert ", first: int) -> dict[str, int]" in thread.replace("builtins.", "")
