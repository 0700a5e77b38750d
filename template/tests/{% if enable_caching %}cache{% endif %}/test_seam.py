"""C12, the public interface, and what is checked before a service starts."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi_cache.coder import PickleCoder

import app.cache
from app.cache import cache_policy, cached, user_scoped_key_builder
from app.config import Settings
from app.errors import StartupError
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from

Routes = Callable[[APIRouter], None]


def test_off_is_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_ENABLED", "false")
    done = subprocess.run(
        [sys.executable, "-m", "tests.cache.switched_off"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = {name for name in done.stdout.split() if name.startswith("app.cache")}
    assert imported == {"app.cache", "app.cache.off", "app.cache.switch"}
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
    }


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


@pytest.mark.parametrize(
    ("add", "problem"),
    [
        (wrong_order, "it has to stand below the route's decorator"),
        (on_post, "POST /wrong is never cached"),
        (without_authentication, r"Depends\(AuthManager\(\)\)"),
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
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error" not in done.stdout
    loop, thread = (line for line in done.stdout.splitlines() if "Revealed" in line)
    assert "def (first: int, *, second: str =) -> " in loop.replace("builtins.", "")
    assert "Coroutine[Any, Any, list[int]]" in loop.replace("builtins.", "")
    assert ", first: int) -> dict[str, int]" in thread.replace("builtins.", "")
