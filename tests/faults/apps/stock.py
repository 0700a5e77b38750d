"""The routes of the load, cached by fastapi-cache2 as its documentation shows it.

Its own decorator, its own RedisBackend, and `FastAPICache.clear` after each write. What
its documentation leaves to the reader is done so that the cache is as right as it can
be: a key builder with the user in the key, and a namespace for each user.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import aiosqlite
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as aioredis

DATABASE = Path(os.environ["STOCK_DATABASE"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with aiosqlite.connect(DATABASE, isolation_level=None) as database:
        database.row_factory = aiosqlite.Row
        await database.execute("PRAGMA busy_timeout = 10000")
        app.state.database = database
        redis = aioredis.from_url(os.environ["REDIS_URL"])
        FastAPICache.init(RedisBackend(redis), prefix="fastapi-cache")
        yield


async def rows(request: Request, sql: str, *values: object) -> list[dict[str, Any]]:
    found = await request.app.state.database.execute_fetchall(sql, values)
    return [dict(row) for row in found]


async def user_id(
    request: Request,
    authorization: Annotated[str, Header()] = "",
    x_api_key: Annotated[str, Header()] = "",
) -> int:
    credential = authorization.removeprefix("Bearer ") or x_api_key
    sql = "SELECT user_id FROM credentials WHERE text = ?"
    found = await rows(request, sql, credential)
    if not found:
        raise HTTPException(401)
    return int(found[0]["user_id"])


UserId = Annotated[int, Depends(user_id)]


def by_path_and_user(
    func: Any, namespace: str, *, request: Request, kwargs: Any, **_: Any
) -> str:
    owner = f"{kwargs['me']}:" if "me" in kwargs else ""
    return f"{namespace}:{owner}{request.url.path}?{request.url.query}"


def create_app() -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.get("/users/me")
    @cache(expire=300, namespace="user", key_builder=by_path_and_user)
    async def me(request: Request, me: UserId) -> dict[str, Any]:
        return (await rows(request, "SELECT * FROM users WHERE id = ?", me))[0]

    @app.get("/users/", dependencies=[Depends(user_id)])
    @cache(expire=300, namespace="users", key_builder=by_path_and_user)
    async def users(
        request: Request, user_id: int | None = None, size: int = 50
    ) -> dict[str, Any]:
        if user_id is None:
            sql = "SELECT * FROM users ORDER BY id LIMIT ?"
            return {"items": await rows(request, sql, size)}
        return (await rows(request, "SELECT * FROM users WHERE id = ?", user_id))[0]

    @app.get("/users/keys")
    @cache(expire=300, namespace="keys", key_builder=by_path_and_user)
    async def keys(request: Request, me: UserId) -> list[dict[str, Any]]:
        return await rows(request, "SELECT * FROM keys WHERE user_id = ?", me)

    @app.get("/users/keys/{key_id}")
    @cache(expire=300, namespace="keys", key_builder=by_path_and_user)
    async def key(request: Request, me: UserId, key_id: int) -> dict[str, Any]:
        sql = "SELECT * FROM keys WHERE id = ? AND user_id = ?"
        return (await rows(request, sql, key_id, me))[0]

    @app.put("/users/{id}", dependencies=[Depends(user_id)])
    async def update(request: Request, id: int, data: dict[str, str]) -> dict[str, Any]:
        name = data["last_name"]
        await rows(request, "UPDATE users SET last_name = ? WHERE id = ?", name, id)
        await FastAPICache.clear(namespace=f"user:{id}")
        await FastAPICache.clear(namespace="users")
        return {"id": id, "last_name": name}

    @app.patch("/users/keys/{key_id}")
    async def rename(
        request: Request, me: UserId, key_id: int, data: dict[str, str]
    ) -> dict[str, Any]:
        sql = "UPDATE keys SET name = ? WHERE id = ?"
        await rows(request, sql, data["name"], key_id)
        await FastAPICache.clear(namespace=f"keys:{me}")
        return {"id": key_id, "name": data["name"]}

    return app
