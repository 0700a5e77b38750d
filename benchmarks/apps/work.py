"""The application that all contenders serve; only the cache below it differs.

50 users with 10 API keys each in SQLite, a route that waits for 200 ms, one that costs
next to nothing, and one that answers with a list of 120 kB.
"""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

USERS, KEYS, ROWS = 50, 10, 1000
TTL = 3600  # seconds

DATABASE = os.environ["BENCH_DATABASE"]
RUNS = Path(os.environ["BENCH_RUNS"])
BACKEND = os.environ.get("BENCH_BACKEND", "memory")
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")


class Cache:
    """What a contender can do. This one does nothing."""

    def install(self, app: FastAPI) -> None:
        """Add middleware."""

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Open and close what the cache needs."""
        yield

    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        """Return what decorates a handler whose answer depends on the parameters."""
        return lambda handler: handler

    def dependencies(self, group: str) -> list[Any]:
        """Return what goes into the route's decorator."""
        return []

    async def invalidate(self, request: Request, group: str) -> None:
        """Drop what was cached of a group, after a commit."""

    async def fill(self, numbers: range) -> None:
        """Store a small entry that nobody asks for, for each of the numbers."""
        raise NotImplementedError


def key_of(handler: Callable[..., Any], group: str, *parameters: str) -> Any:
    """Return a function that makes a handler's key of its arguments."""
    name = f"{group}:{handler.__name__}"
    return lambda given: ":".join((name, *(str(given[p]) for p in parameters)))


def with_request(handler: Callable[..., Any], wrapper: Callable[..., Any]) -> Any:
    """Return the wrapper with the handler's signature, as FastAPI is to see it."""
    wrapped = wraps(handler)(wrapper)
    vars(wrapped)["__signature__"] = inspect.signature(handler)
    return wrapped


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    role: Mapped[str]


class Key(Base):
    __tablename__ = "keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    first_name: str
    last_name: str
    role: str


class KeyOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    user_id: int
    name: str
    prefix: str


class Row(BaseModel):
    id: int
    name: str
    description: str


class Answer(BaseModel):
    answer: str


engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")
sessions = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


def create_app(cache: Cache) -> FastAPI:
    """Return the application over a cache."""

    def running(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return cache.running(app)

    app = FastAPI(lifespan=running)
    cache.install(app)
    users, none = cache.dependencies("users"), cache.dependencies("none")

    @app.get("/users", response_model=list[UserOut], dependencies=users)
    @cache.cached("users", "page", "size")
    async def list_users(
        request: Request, session: SessionDep, page: int = 1, size: int = 50
    ) -> Any:
        query = select(User).order_by(User.id).offset((page - 1) * size).limit(size)
        found = await session.scalars(query)
        return [UserOut.model_validate(user) for user in found]

    @app.get("/users/{user_id}", response_model=UserOut, dependencies=users)
    @cache.cached("users", "user_id", "nonce")
    async def get_user(
        request: Request, session: SessionDep, user_id: int, nonce: int = 0
    ) -> Any:
        user = await session.get(User, user_id)
        if user is None:
            raise HTTPException(404)
        return UserOut.model_validate(user)

    @app.get("/users/{user_id}/keys", response_model=list[KeyOut], dependencies=users)
    @cache.cached("users", "user_id")
    async def list_keys(request: Request, session: SessionDep, user_id: int) -> Any:
        query = select(Key).where(Key.user_id == user_id).order_by(Key.id)
        found = await session.scalars(query)
        return [KeyOut.model_validate(key) for key in found]

    @app.put("/users/{user_id}", response_model=UserOut)
    async def update_user(
        request: Request, session: SessionDep, user_id: int, data: UserOut
    ) -> Any:
        user = await session.get_one(User, user_id)
        user.first_name, user.last_name = data.first_name, data.last_name
        await session.commit()
        await cache.invalidate(request, "users")
        return UserOut.model_validate(user)

    @app.get("/slow", response_model=Answer, dependencies=none)
    @cache.cached("none", "nonce")
    async def slow(request: Request, nonce: int = 0) -> Any:
        with RUNS.open("a") as file:  # noqa: ASYNC230 - it takes no time
            file.write(".")
        await asyncio.sleep(0.2)
        return Answer(answer="slow")

    @app.get("/cheap", response_model=Answer, dependencies=none)
    @cache.cached("none", "nonce")
    async def cheap(request: Request, nonce: int = 0) -> Any:
        return Answer(answer="cheap")

    @app.get("/large", response_model=list[Row], dependencies=none)
    @cache.cached("none")
    async def large(request: Request) -> Any:
        text = "one row of a list that is as long as people let it become in all "
        text += "these years"
        return [
            Row(id=number, name=f"row {number:04d}", description=text)
            for number in range(ROWS)
        ]

    @app.get("/body/{size}", response_model=Answer, dependencies=none)
    @cache.cached("none", "size")
    async def body(request: Request, size: int) -> Any:
        return Answer(answer="x" * size)

    @app.post("/fill/{count}")
    async def fill(count: int, first: int = 0) -> None:
        await cache.fill(range(first, first + count))

    return app


async def prepare() -> None:
    """Make the tables, and the users with their keys."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as session:
        for number in range(1, USERS + 1):
            session.add(
                User(
                    id=number,
                    email=f"person{number}@example.com",
                    first_name=f"First{number}",
                    last_name=f"Last{number}",
                    role="user",
                )
            )
            for key in range(KEYS):
                name = f"key {key} of {number}"
                session.add(Key(user_id=number, name=name, prefix=f"{number:05d}{key}"))
        await session.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(prepare())
