"""Where an answer is stored is the same in every process, and after a new start."""

import asyncio
import os
import subprocess
import sys

import pytest
from fastapi import FastAPI, Header, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from app.cache import cache_lifespan, cached, install_cache, setup
from app.config import Settings, get_settings
from app.database import Database
from tests.asgi import lifespan
from tests.engine.answers import cached_paths
from tests.engine.storages.memory import open_store

FIELDS = {"one", "two", "three", "four"}


class Found(BaseModel):
    one: int = 1
    two: str = "2"
    three: set[str] = {"a", "b", "c"}
    four: float | None = None


def make_app(settings: Settings) -> FastAPI:
    app = FastAPI(lifespan=lambda app: cache_lifespan(app, settings))
    app.state.database = Database(settings)
    install_cache(app, settings)

    @app.get("/plain")
    @cached()
    async def plain(page: int = 1) -> str:
        return "x"

    @app.get("/model", response_model_exclude={"one", "two", "three"})
    @cached()
    async def model() -> Found:
        return Found()

    @app.get("/include", response_model=Found, response_model_include=FIELDS)
    @cached(vary={"Accept", "Accept-Language", "X-Own"})
    async def include(request: Request) -> Found:
        return Found()

    @app.get("/html", response_class=HTMLResponse)
    @cached()
    async def html(x_own: str = Header(default="")) -> str:
        return "x"

    @app.get("/object", response_model=None)
    @cached()
    def anything(request: Request) -> object:
        return {"a": 1}

    return app


async def places() -> list[str]:
    """Return where the answers of all routes are stored."""
    settings = get_settings()
    vars(setup)["open_store"] = open_store
    app = make_app(settings)
    async with lifespan(app):
        cache = app.state.response_cache.cache
        for path in cached_paths(app):
            await _get(app, path)
        found = [key for key in cache.store._values if ":entry:" in key]
    await app.state.database.dispose()
    return sorted(found)


async def _get(app: FastAPI, path: str) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None: ...

    headers = [(b"x-own", b"1"), (b"accept", b"*/*")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b""}
    await app({**scope, "headers": headers}, receive, send)


@pytest.mark.parametrize("seed", ["1", "2"])
async def test_every_process_looks_for_an_answer_in_the_same_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: str
) -> None:
    monkeypatch.setattr(setup, "open_store", open_store)
    own = await places()
    assert len(own) == 5
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.engine.test_places"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    assert done.returncode == 0, done.stderr
    other = done.stdout.split()
    assert other == own


async def test_a_new_start_looks_for_an_answer_in_the_same_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "open_store", open_store)
    assert await places() == await places()


if __name__ == "__main__":
    from tests.engine import test_places  # whose functions are named as in the test

    print(*asyncio.run(test_places.places()))
